//! The mock upstream as a program. Its first line of output is the port it listens on.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use clap::Parser;
use systemprompt_mock_upstream::{Behaviour, CaptureLimits, MockUpstream};

/// A provider of model answers for tests and benchmarks. Prints the port it listens on and runs until it is killed.
#[derive(Debug, Parser)]
#[command(name = "systemprompt-mock-upstream")]
struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Number of threads that answer.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Number of requests to remember; 0 for benchmarks.
    #[arg(long, default_value_t = CaptureLimits::default().requests)]
    capture: usize,
    /// Time from the request to the answer, in milliseconds.
    #[arg(long)]
    delay_ms: Option<u64>,
    /// Number of parts a stream has.
    #[arg(long)]
    chunks: Option<usize>,
    /// Time between two parts of a stream, in milliseconds.
    #[arg(long)]
    chunk_delay_ms: Option<u64>,
    /// The whole behaviour as JSON, as in `PUT /__mock/behaviour`; the options above override it.
    #[arg(long, value_name = "JSON")]
    behaviour: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads.max(1))
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut behaviour: Behaviour = match &arguments.behaviour {
        Some(json) => serde_json::from_str(json).context("reading --behaviour")?,
        None => Behaviour::default(),
    };
    behaviour.delay_ms = arguments.delay_ms.unwrap_or(behaviour.delay_ms);
    behaviour.chunks = arguments.chunks.unwrap_or(behaviour.chunks);
    behaviour.chunk_delay_ms = arguments.chunk_delay_ms.unwrap_or(behaviour.chunk_delay_ms);

    let address = (arguments.host, arguments.port).into();
    let limits = CaptureLimits { requests: arguments.capture, ..CaptureLimits::default() };
    let upstream = MockUpstream::bind(address, limits).await.with_context(|| format!("listening on {address}"))?;
    upstream.behave(behaviour);
    {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", upstream.address().port())?;
        out.flush()?;
    }
    std::future::pending().await
}
