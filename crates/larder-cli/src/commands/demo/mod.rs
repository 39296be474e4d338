//! The main job: a small service with what the machine has to offer, run for a few seconds beside two ways that need no learning.

mod arm;
mod control;
mod origin;
mod page;
mod private_redis;
mod report;
mod second;
mod service;
mod traffic;

use std::time::Duration;

use self::arm::Way;
use self::report::Outcome;
use self::second::SecondTier;
use self::service::Service;
use self::traffic::Traffic;
use crate::demo_args::DemoArgs;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Bar;

/// The lifetime many services have.
const USUAL: Duration = Duration::from_secs(300);
/// A run without an end sends so many seconds of traffic again and again.
const MANY_SECONDS: u64 = 600;

pub(crate) fn run(options: &DemoArgs) -> Result<(), Failure> {
    let requests = options.rate.get().saturating_mul(options.lasts().map_or(MANY_SECONDS, |lasts| lasts.as_secs()));
    let traffic = Traffic::read(&options.trace, requests, options.seed)?;
    let control = control::ttl_for(options.objective, &traffic.rates(options.rate.get() as f64));
    let ways = [Way::larder(options.objective)?, Way::one_ttl("lru-tuned", control), Way::one_ttl("lru-300s", USUAL)];
    // Before the runtime, and so after it when all ends: nothing misses a server that is gone.
    let mut second = SecondTier::choose(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("no threads to run on: {error}")))?;
    // Whoever asks for the end before it has begun is heard when it has: what is in temporary folders by then goes with it.
    let mut interrupt = runtime.block_on(async { Interrupt::listen() })?;
    runtime.block_on(second.reach())?;
    let service = {
        // The caches' own tasks run there too.
        let _inside = runtime.enter();
        // Before the caches, so that it hears all they have to tell.
        options.metrics.map(crate::metrics::serve).transpose()?;
        Service::new(traffic, ways, &mut second, options)?
    };
    runtime.block_on(second.ready())?;
    let page = runtime.block_on(page::open(&service, options))?;
    if !options.json {
        report::introduce(&service, &second, options);
    }
    let bar = Bar::new("demo");
    let run = runtime.block_on(service.run(options, &mut interrupt, &bar))?;
    bar.clear();
    if let Some(page) = page {
        runtime.block_on(page.close());
    }
    let outcome = Outcome::new(&service, &second, run, options)?;
    if options.json { super::print_json([outcome]) } else { outcome.print() }
}
