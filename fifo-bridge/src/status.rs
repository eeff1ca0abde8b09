//! `fifo-bridge status`: a socket that the bridge writes one JSON object to, and the reader of it.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::counters::get;
use serde_json::{Map, Value, json};

use crate::settings::Settings;
use crate::shared::Shared;

/// How long a client of the socket may keep us waiting.
const CLIENT: Duration = Duration::from_secs(2);

/// Numbers of one moment, from which rates are made.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    at: Instant,
    received: u64,
    pushed: u64,
}

impl Sample {
    /// Of now.
    pub fn take(shared: &Shared) -> Self {
        let counters = &shared.counters;
        Self { at: Instant::now(), received: get(&counters.received), pushed: get(&counters.pushed) }
    }

    fn rate(self, earlier: Self) -> (f64, f64) {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64();
        if seconds <= 0.0 {
            return (0.0, 0.0);
        }
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        (per_second(self.received, earlier.received), per_second(self.pushed, earlier.pushed))
    }
}

/// Everything that `status` shows. The words are those of the metrics.
pub fn report(shared: &Shared, earlier: Sample) -> Value {
    let (settings, _) = shared.settings();
    let counters = &shared.counters;
    let health = shared.health();
    let (received_rate, pushed_rate) = Sample::take(shared).rate(earlier);
    let mut report = Map::new();
    let mut put = |key: &str, value: Value| {
        report.insert(key.to_owned(), value);
    };
    put("version", env!("CARGO_PKG_VERSION").into());
    put("pid", std::process::id().into());
    put("uptime_seconds", shared.started.elapsed().as_secs().into());
    put("fifo", settings.fifo.path.display().to_string().into());
    put("redis", settings.endpoint.to_string().into());
    put("key", settings.file.queue.key.clone().into());
    if let [only] = settings.lanes.as_slice() {
        put("cursor_key", only.cursor.clone().into());
    }
    put("lanes", (0..settings.lanes.len()).map(|number| lane(shared, &settings, number)).collect());
    put("spool", settings.spool.directory.display().to_string().into());
    put("connected", health.connected.into());
    put("stopped", health.stopped.into());
    put("held_back_reason", health.held_back.into());
    put("last_error", health.last_error.into());
    put("last_error_time", health.last_error_time.into());
    put("acked", shared.spool.acked().map_or(Value::Null, |acked| acked.to_string().into()));
    put("end", shared.spool.end().to_string().into());
    put("received_per_second", json!(received_rate));
    put("pushed_per_second", json!(pushed_rate));
    for metric in crate::metrics::METRICS.iter().filter(|metric| metric.word != "connected") {
        put(metric.word, (metric.read)(counters));
    }
    let (sum, count, _) = counters.push_seconds.read();
    put(crate::metrics::HISTOGRAM.0, json!({"sum": sum, "count": count}));
    put(
        "unpushed_bytes",
        shared.spool.acked().map_or_else(|| shared.spool.bytes(), |at| shared.spool.bytes_after(at)).into(),
    );
    let settled = get(&counters.pushed) + get(&counters.duplicates_suppressed) + get(&counters.dead_letters);
    put("held", get(&counters.received).saturating_sub(settled).into());
    Value::Object(report)
}

/// What is known of one lane.
fn lane(shared: &Shared, settings: &Settings, number: usize) -> Value {
    let (names, state, spool) = (&settings.lanes[number], &shared.lanes[number], &shared.spool);
    let (health, acked) = (state.health(), spool.acked_of(number));
    json!({
        "list": names.list,
        "cursor_key": names.cursor,
        "connected": health.connected,
        "stopped": health.stopped,
        "last_error": health.last_error,
        "acked": acked.map(|acked| acked.to_string()),
        "unpushed_bytes": acked.map_or_else(|| spool.bytes(), |acked| spool.bytes_after(acked)),
        "pushed": get(&state.pushed),
        "list_length": get(&state.list_length),
    })
}

/// Binds the socket; one that a killed process left behind is replaced.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    remove_dead_socket(path)?;
    UnixListener::bind(path)
}

/// Removes a socket that nobody answers at. Whatever else stands at the path is left alone.
pub fn remove_dead_socket(path: &Path) -> std::io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Answers whoever connects, for ever.
pub fn serve(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut earlier = Sample::take(shared);
    for client in listener.incoming() {
        let Ok(mut client) = client else {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        let report = report(shared, earlier).to_string();
        if earlier.at.elapsed() >= Duration::from_secs(10) {
            earlier = Sample::take(shared);
        }
        // A client that does not read is its own loss.
        let _ = client.set_write_timeout(Some(CLIENT)).and_then(|()| client.write_all(report.as_bytes()));
    }
}

/// Asks the bridge behind `path`.
pub fn ask(path: &Path) -> anyhow::Result<Value> {
    let mut stream = UnixStream::connect(path)
        .map_err(|error| anyhow::anyhow!("no bridge answers at {} ({error}); is it running?", path.display()))?;
    stream.set_read_timeout(Some(CLIENT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn mean_milliseconds(report: &Value) -> f64 {
    let push = &report["push_seconds"];
    match (push["sum"].as_f64(), push["count"].as_f64()) {
        (Some(sum), Some(count)) if count > 0.0 => sum * 1000.0 / count,
        _ => 0.0,
    }
}

/// The report for people.
pub fn render(report: &Value) -> String {
    let text = |key: &str| match &report[key] {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => format!("{:.1}", number.as_f64().unwrap_or(0.0)),
        other => other.to_string(),
    };
    let held_back = text("held_back_reason");
    let state = if report["stopped"] == true {
        "STOPPED, a person is needed".to_owned()
    } else if !held_back.is_empty() {
        format!("HELD BACK, records wait in the spool: {held_back}")
    } else if report["connected"] == true {
        "connected".to_owned()
    } else {
        "AWAY, records wait in the spool".to_owned()
    };
    let mut lines = vec![
        format!("pipe         {} ({} bytes in it)", text("fifo"), text("pipe_bytes")),
        format!("redis        {} list {:?}: {state}", text("redis"), text("key")),
        format!("rates        {} received/s, {} pushed/s", text("received_per_second"), text("pushed_per_second")),
        format!(
            "records      {} received = {} pushed + {} already there + {} dead letters + {} held",
            text("received"),
            text("pushed"),
            text("duplicates_suppressed"),
            text("dead_letters"),
            text("held")
        ),
        format!(
            "spool        {} bytes, {} not yet pushed, oldest {} s",
            text("spool_bytes"),
            text("unpushed_bytes"),
            text("oldest_unpushed_seconds")
        ),
        format!("list         {} long when it was last known", text("list_length")),
        format!("pushes       {} took {:.3} ms each", report["push_seconds"]["count"], mean_milliseconds(report)),
    ];
    let lanes = report["lanes"].as_array().map_or(&[][..], Vec::as_slice);
    for lane in lanes.iter().filter(|_| lanes.len() > 1) {
        let state = match (lane["stopped"] == true, lane["connected"] == true) {
            (true, _) => "STOPPED",
            (false, true) => "connected",
            (false, false) => "AWAY",
        };
        lines.push(format!(
            "lane         {}: {state}, {} pushed, {} bytes behind, {} long",
            lane["list"], lane["pushed"], lane["unpushed_bytes"], lane["list_length"]
        ));
    }
    if !text("last_error").is_empty() {
        lines.push(format!("last error   {}", text("last_error")));
    }
    lines.join("\n")
}
