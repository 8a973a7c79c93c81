//! The operator's log: to standard error, as JSON or for a terminal, Pingora's own lines included.

use crate::config::checked::{Level, Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;

/// Starts the log. A second call changes nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    // The frameworks tell of every client that leaves; the access log does that once, in one line.
    let ours = filter_fn(move |about| {
        *about.level() <= level
            && (about.target().starts_with("openclaw_edge") || *about.level() <= tracing::Level::WARN)
    });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match log.format {
        LogFormat::Json => layer.json().flatten_event(true).with_target(false).boxed(),
        LogFormat::Text => {
            layer.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
        }
    };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(ours));
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        // Pingora logs through the `log` crate. Its warnings are for us, its progress is not.
        let _ = tracing_log::LogTracer::builder().with_max_level(log_level(log.level)).init();
    }
}

fn log_level(level: Level) -> tracing_log::log::LevelFilter {
    match level {
        Level::Error => tracing_log::log::LevelFilter::Error,
        Level::Warn | Level::Info | Level::Debug => tracing_log::log::LevelFilter::Warn,
    }
}
