//! docs/METRICS.md, from the list of metrics.

use std::fmt::Write as _;

use delivery::counters::BUCKETS;
use fifo_bridge::metrics::{HISTOGRAM, LANE_METRICS, METRICS, Metric};

/// The name that Prometheus reads.
pub fn name(metric: &Metric) -> String {
    let end = if metric.counter { "_total" } else { "" };
    format!("fifo_bridge_{}{end}", metric.word)
}

/// The names of what is shown of each of several lanes.
pub fn lane_names() -> impl Iterator<Item = String> {
    LANE_METRICS.iter().map(|metric| {
        let end = if metric.counter { "_total" } else { "" };
        format!("fifo_bridge_{}{end}", metric.word)
    })
}

/// The histogram's name, without what Prometheus puts behind it.
pub fn histogram() -> String {
    format!("fifo_bridge_{}", HISTOGRAM.0)
}

/// What `status --json` shows beside the metrics.
pub const STATUS: &[(&str, &str)] = &[
    ("version", "version of the program"),
    ("pid", "its process"),
    ("uptime_seconds", "seconds since it started; all counters begin there"),
    ("fifo", "path of the pipe"),
    ("redis", "where Redis is, without the login"),
    ("key", "the list, or with several lanes what their names begin with"),
    ("cursor_key", "the key of the cursor; with several lanes each has its own"),
    (
        "lanes",
        "for each lane: `list`, `cursor_key`, `connected`, `stopped`, `last_error`, `acked`, `unpushed_bytes`, `pushed`, `list_length`",
    ),
    ("spool", "folder of the spool"),
    ("connected", "true while Redis takes the pushes of all lanes"),
    ("stopped", "true when a person is needed: nothing is pushed, or not to all lanes, until SIGHUP or a restart"),
    ("held_back_reason", "why records are held back although Redis answers, empty if they are not"),
    ("last_error", "the last trouble, empty if there was none"),
    ("last_error_time", "when it came, in seconds since 1970"),
    ("acked", "position up to which Redis has everything, `epoch:offset`; null before it is known"),
    ("end", "position of the end of the spool"),
    ("received_per_second", "records a second, over the last 10 s or more"),
    ("pushed_per_second", "likewise"),
    ("unpushed_bytes", "bytes of the spool that Redis has not confirmed"),
    ("held", "records that were told apart and are neither in Redis nor among the dead letters"),
];

/// What a number counts. Bytes and seconds say it in their name.
fn unit(word: &str) -> &'static str {
    match word {
        word if word.ends_with("_bytes") => "bytes",
        word if word.ends_with("_seconds") => "seconds",
        "retries" => "attempts",
        "reconnects" => "connections",
        "torn" => "lines",
        "connected" => "0 or 1",
        _ => "records",
    }
}

/// The page.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    out.push_str("| Prometheus | `status --json` | type | unit | meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let kind = if metric.counter { "counter" } else { "gauge" };
        let (name, word, help) = (name(metric), metric.word, metric.help);
        let _ = writeln!(out, "| `{name}` | `{word}` | {kind} | {} | {help} |", unit(word));
    }
    let _ = writeln!(
        out,
        "| `{}` | `{}` | histogram | seconds | {}; the status has its `count` and `sum` |",
        histogram(),
        HISTOGRAM.0,
        HISTOGRAM.1
    );
    let bounds: Vec<String> = BUCKETS.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        out,
        "\nThe histogram comes as `{0}_bucket{{le=\"...\"}}`, `{0}_sum` and `{0}_count`, with the bounds {1} seconds. One push carries a batch, so its count is \
         the number of batches.",
        histogram(),
        bounds.join(", ")
    );
    out.push_str(LANES);
    out.push_str("| Prometheus | type | meaning |\n|---|---|---|\n");
    for (metric, name) in LANE_METRICS.iter().zip(lane_names()) {
        let kind = if metric.counter { "counter" } else { "gauge" };
        let _ = writeln!(out, "| `{name}{{list=\"...\"}}` | {kind} | {} |", metric.help);
    }
    out.push_str(BALANCE);
    out.push_str("| key | meaning |\n|---|---|\n");
    for (key, meaning) in STATUS {
        let _ = writeln!(out, "| `{key}` | {meaning} |");
    }
    out.push_str(ALERTS);
    out
}

const HEAD: &str = "\
<!-- Made from fifo-bridge/src/metrics.rs: UPDATE=1 cargo test -p e2e --test e2e generated -->

# Metrics

The bridge answers Prometheus at `http://127.0.0.1:9746/metrics` (`metrics.listen`; a unix socket and off are possible), and
`fifo-bridge status --json` shows the same numbers under the same words. All counters begin at 0 when the bridge starts.

```yaml
scrape_configs:
  - job_name: fifo-bridge
    static_configs:
      - targets: [\"127.0.0.1:9746\"]
```

";

const LANES: &str = "
## Lanes

With `queue.lanes` above 1 the numbers above are those of all lanes together: `list_length` is the sum, `connected` is 1 if all are, and `oldest_unpushed_seconds`
and the status' `acked` and `unpushed_bytes` tell of the lane that is furthest behind. Of each lane there are, in the status under `lanes` and here with its list as the label:

";

const BALANCE: &str = "
## The balance

At any moment

    received = pushed + duplicates_suppressed + dead_letters + held

and at rest, with Redis there, `held` is 0. A record is `pushed` when Redis has confirmed it. If the answer to a push is lost, its records are counted in
`unknown_outcome`, the bridge asks Redis where the cursor stands, and what Redis turns out to have is counted in `duplicates_suppressed`: it is in the list once, and
is not sent again. So the list has grown by `pushed + duplicates_suppressed` records since the start of the bridge. `replayed` stands outside of the balance: these
records had been pushed before, and Redis had lost them again.

What is still in the pipe (`pipe_bytes`) or in the spool and not yet cut into records is not counted in `received` yet: see `unpushed_bytes` in the status.

## What else the status shows

";

const ALERTS: &str = "
## Alerts to begin with

```yaml
groups:
  - name: fifo-bridge
    rules:
      - alert: FifoBridgeDown
        expr: up{job=\"fifo-bridge\"} == 0
        for: 1m
        annotations: {summary: \"Nothing empties the pipe; rsyslog's own queue is filling.\"}

      - alert: FifoBridgeRedisAway
        expr: fifo_bridge_connected == 0
        for: 2m
        annotations: {summary: \"Redis takes nothing; records wait in the spool. See last_error in fifo-bridge status.\"}

      # The number that workers feel.
      - alert: FifoBridgeLate
        expr: fifo_bridge_oldest_unpushed_seconds > 30
        for: 1m
        annotations: {summary: \"Records reach Redis late.\"}

      # 0.8 of spool.maxsize, which is 1 GiB by default. When it is full, the pipe is no longer read.
      - alert: FifoBridgeSpoolFilling
        expr: fifo_bridge_spool_bytes > 0.8 * 1073741824
        annotations: {summary: \"The spool is nearly full; rsyslog's own queue is next.\"}

      # Half of the pipe, which is 1 MiB: the bridge reads too slowly, or not at all.
      - alert: FifoBridgePipeFilling
        expr: fifo_bridge_pipe_bytes > 524288
        for: 30s
        annotations: {summary: \"The pipe is not emptied; rsyslogd is about to be suspended.\"}

      - alert: FifoBridgeDeadLetters
        expr: increase(fifo_bridge_dead_letters_total[15m]) > 0
        annotations: {summary: \"Lines or records were set aside; dead-letters.jsonl says why.\"}

      # Nobody takes the records out again. The number is your own.
      - alert: FifoBridgeListLong
        expr: fifo_bridge_list_length > 1000000
        for: 5m
        annotations: {summary: \"Workers do not keep up; Redis' memory is filling.\"}

      - alert: FifoBridgeReplayed
        expr: increase(fifo_bridge_replayed_total[15m]) > 0
        annotations: {summary: \"Redis went back to an earlier state and was healed from the spool.\"}
```
";
