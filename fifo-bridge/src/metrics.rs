//! The counters as Prometheus text, over HTTP.

use std::sync::Arc;

use delivery::counters::{BUCKETS, Counters, get};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};
use tiny_http::{Header, Request, Response, Server};

use crate::shared::Shared;

/// One number that `status`, `/metrics` and `docs/METRICS.md` show.
pub struct Metric {
    /// The word, without prefix and suffix.
    pub word: &'static str,
    /// Whether it only grows.
    pub counter: bool,
    /// What it says.
    pub help: &'static str,
    /// Reads it.
    pub read: fn(&Counters) -> Value,
}

macro_rules! metric {
    ($word:ident, counter, $help:expr) => {
        Metric { word: stringify!($word), counter: true, help: $help, read: |c| get(&c.$word).into() }
    };
    ($word:ident, gauge, $help:expr) => {
        Metric { word: stringify!($word), counter: false, help: $help, read: |c| get(&c.$word).into() }
    };
}

/// All numbers but the histogram.
pub const METRICS: &[Metric] = &[
    metric!(received, counter, "Records told apart, good ones and others"),
    metric!(accepted, counter, "Records that are safe in the spool or in Redis"),
    metric!(pushed, counter, "Records that Redis has confirmed"),
    metric!(duplicates_suppressed, counter, "Records whose push had no answer and that Redis turned out to have"),
    metric!(spooled, counter, "Records that went through the spool"),
    metric!(spool_bytes, gauge, "Bytes of the spool, retained ones included"),
    metric!(replayed, counter, "Records sent again because Redis went back to an earlier state"),
    metric!(dead_letters, counter, "Records set aside with a reason"),
    metric!(torn, counter, "Lines that were torn before they reached the bridge"),
    metric!(retries, counter, "Attempts to connect or to push that failed"),
    metric!(unknown_outcome, counter, "Records whose push lost its answer"),
    metric!(reconnects, counter, "Connections to Redis after the first"),
    Metric {
        word: "oldest_unpushed_seconds",
        counter: false,
        help: "Age of the oldest byte that Redis has not confirmed",
        read: |c| json!(get(&c.oldest_unpushed_milliseconds) as f64 / 1000.0),
    },
    metric!(pipe_bytes, gauge, "Bytes in the pipe when it was last looked at"),
    metric!(list_length, gauge, "Length of the list after the last push, or when it was asked for"),
    metric!(
        held_back,
        gauge,
        "1 while records are held back although Redis answers: the list is too long, or Redis is out of memory"
    ),
    Metric {
        word: "connected",
        counter: false,
        help: "1 while Redis takes pushes",
        read: |c| c.connected.load(std::sync::atomic::Ordering::Relaxed).into(),
    },
];

/// What is shown of each of several lanes, with the label `list`.
pub const LANE_METRICS: &[LaneMetric] = &[
    LaneMetric {
        word: "lane_pushed",
        counter: true,
        help: "Records that Redis has confirmed, for each of several lanes",
        read: |shared, lane| get(&shared.lanes[lane].pushed),
    },
    LaneMetric {
        word: "lane_unpushed_bytes",
        counter: false,
        help: "Bytes of the spool behind the lane, other lanes' ones included",
        read: |shared, lane| {
            let spool = &shared.spool;
            spool.acked_of(lane).map_or_else(|| spool.bytes(), |acked| spool.bytes_after(acked))
        },
    },
    LaneMetric {
        word: "lane_list_length",
        counter: false,
        help: "Length of the lane's list after its last push",
        read: |shared, lane| get(&shared.lanes[lane].list_length),
    },
    LaneMetric {
        word: "lane_connected",
        counter: false,
        help: "1 while Redis takes the lane's pushes",
        read: |shared, lane| shared.lanes[lane].health().connected.into(),
    },
];

/// One number of a lane.
pub struct LaneMetric {
    /// The word, without prefix and suffix.
    pub word: &'static str,
    /// Whether it only grows.
    pub counter: bool,
    /// What it says.
    pub help: &'static str,
    /// Reads it.
    pub read: fn(&Shared, usize) -> u64,
}

/// The histogram's word and help.
pub const HISTOGRAM: (&str, &str) = ("push_seconds", "Time from sending a push to reading its answer");

/// The numbers of one of several lanes: its list, and the values of [`LANE_METRICS`].
pub type LaneValues = (String, Vec<u64>);

/// Empty for one lane: there they would say nothing new.
fn lanes(shared: &Shared) -> Vec<LaneValues> {
    let (settings, _) = shared.settings();
    let values = |lane: usize| LANE_METRICS.iter().map(|metric| (metric.read)(shared, lane)).collect();
    let several = settings.lanes.iter().enumerate().filter(|_| settings.lanes.len() > 1);
    several.map(|(lane, names)| (names.list.clone(), values(lane))).collect()
}

#[derive(Debug)]
struct Bridge(Arc<Counters>, Vec<LaneValues>);

impl Bridge {
    fn encode_lanes(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for (place, metric) in LANE_METRICS.iter().enumerate().filter(|_| !self.1.is_empty()) {
            let kind = if metric.counter { MetricType::Counter } else { MetricType::Gauge };
            let (name, unit) = unit_of(metric.word);
            let name = format!("fifo_bridge_{name}");
            let mut family = encoder.encode_descriptor(&name, metric.help, unit.as_ref(), kind)?;
            for (list, values) in &self.1 {
                let labels = [("list", list.as_str())];
                let encoder = family.encode_family(&labels)?;
                if metric.counter {
                    ConstCounter::new(values[place]).encode(encoder)?;
                } else {
                    ConstGauge::new(values[place].cast_signed()).encode(encoder)?;
                }
            }
        }
        Ok(())
    }
}

impl Collector for Bridge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for metric in METRICS {
            let value = (metric.read)(&self.0);
            let kind = if metric.counter { MetricType::Counter } else { MetricType::Gauge };
            let (name, unit) = unit_of(metric.word);
            let name = format!("fifo_bridge_{name}");
            let encoder = encoder.encode_descriptor(&name, metric.help, unit.as_ref(), kind)?;
            if metric.counter {
                ConstCounter::new(value.as_u64().unwrap_or(0)).encode(encoder)?;
            } else if let Some(whole) = value.as_i64() {
                ConstGauge::new(whole).encode(encoder)?;
            } else {
                ConstGauge::new(value.as_f64().unwrap_or(0.0)).encode(encoder)?;
            }
        }
        self.encode_lanes(&mut encoder)?;
        let (sum, count, buckets) = self.0.push_seconds.read();
        let bounds = BUCKETS.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(buckets).collect();
        let mut encoder =
            encoder.encode_descriptor("fifo_bridge_push", HISTOGRAM.1, Some(&Unit::Seconds), MetricType::Histogram)?;
        encoder.encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, count, &buckets, None)
    }
}

/// The unit that ends a word: the text format repeats it behind the name.
fn unit_of(word: &str) -> (&str, Option<Unit>) {
    if let Some(name) = word.strip_suffix("_seconds") {
        (name, Some(Unit::Seconds))
    } else if let Some(name) = word.strip_suffix("_bytes") {
        (name, Some(Unit::Bytes))
    } else {
        (word, None)
    }
}

/// The text that Prometheus reads.
pub fn render(counters: &Arc<Counters>, lanes: Vec<LaneValues>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Bridge(Arc::clone(counters), lanes)));
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = text::encode(&mut out, &registry);
    out
}

/// Begins to listen, `None` if nobody wants it.
pub fn bind(listen: &str) -> anyhow::Result<Option<Server>> {
    let server = match listen {
        "" => return Ok(None),
        path if path.starts_with('/') => {
            crate::status::remove_dead_socket(std::path::Path::new(path))?;
            Server::http_unix(std::path::Path::new(path))
        }
        address => Server::http(address),
    };
    let server = server.map_err(|error| anyhow::anyhow!("metrics.listen: {listen:?} cannot be used: {error}"))?;
    log::info!("metrics at {}", server.server_addr());
    Ok(Some(server))
}

/// Answers for ever.
pub fn serve(server: &Server, shared: &Shared) {
    for request in server.incoming_requests() {
        // A client that went away is its own loss.
        let _ = answer(request, shared);
    }
}

fn answer(request: Request, shared: &Shared) -> std::io::Result<()> {
    let content = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    match request.url() {
        "/metrics" => {
            let mut response = Response::from_string(render(&shared.counters, lanes(shared)));
            if let Ok(header) = content.parse::<Header>() {
                response.add_header(header);
            }
            request.respond(response)
        }
        "/" => request.respond(Response::from_string("fifo-bridge: see /metrics\n")),
        _ => request.respond(Response::from_string("not here; see /metrics\n").with_status_code(404)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_prefix_unit_and_total() {
        let counters = Arc::new(Counters::default());
        counters.push_seconds.observe(std::time::Duration::from_millis(2));
        let lanes =
            [("logs:0", 5), ("logs:1", 7)].map(|(list, value)| (list.to_owned(), vec![value; LANE_METRICS.len()]));
        let text = render(&counters, lanes.into());
        for line in [
            "# TYPE fifo_bridge_received counter",
            "fifo_bridge_received_total 0",
            "fifo_bridge_spool_bytes 0",
            "fifo_bridge_oldest_unpushed_seconds 0",
            "fifo_bridge_lane_pushed_total{list=\"logs:0\"} 5",
            "fifo_bridge_lane_unpushed_bytes{list=\"logs:1\"} 7",
            "fifo_bridge_lane_connected{list=\"logs:1\"} 7",
            "fifo_bridge_push_seconds_count 1",
            "fifo_bridge_push_seconds_bucket{le=\"0.0025\"} 1",
            "fifo_bridge_push_seconds_bucket{le=\"+Inf\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
