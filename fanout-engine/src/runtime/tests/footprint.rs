//! What a channel at rest keeps in memory.
//!
//! Counted in the allocator, so that pages of SQLite's caches, which are bounded by connection and not made by
//! channels, and what the allocator has not given back to the system are left out.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;

use super::resting::rest;
use super::*;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated and not given back.
fn held() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// Bytes for each of the channels after the first so many, all at rest.
async fn for_each(channels: usize, filter: impl Fn(usize) -> Option<String>) -> f64 {
    let db = databases().await.unwrap().into_iter().next().unwrap();
    let mut bench = Bench::over(db, filter(0).as_deref()).await;
    bench.rest_after = Duration::ZERO;
    bench.provision().await;
    let (runtime, shutdown, task) = bench.runtime();
    rest(&runtime, 1).await;
    let mut measured = Vec::new();
    for half in 0..2 {
        for number in 0..channels {
            let (channel, now) = (ChannelId::new(), bench.clock.now());
            let filter = filter(1 + half * channels + number);
            let mut tx = bench.db.control.tenant(bench.tenant).await.unwrap();
            let wish = Wish { profile: "stream", limits: PLENTY, filter: filter.as_deref() };
            order(&mut tx, bench.tenant, bench.element.id, channel, wish, now).await;
            tx.commit().await.unwrap();
            bench.provision_channel(channel).await;
        }
        rest(&runtime, 1 + (half + 1) * channels).await;
        // What a pass takes for itself is not theirs.
        let mut least = f64::INFINITY;
        for _ in 0..20 {
            runtime.passed().await;
            least = least.min(held());
        }
        measured.push(least);
    }
    shutdown.cancel();
    task.await.unwrap();
    (measured[1] - measured[0]) / channels as f64
}

/// The goal is 500 bytes. What the process takes for itself meanwhile is counted with it and differs from run to run by
/// some hundred for each; whatever is open of a channel takes ten thousand.
#[tokio::test]
async fn a_channel_at_rest_keeps_next_to_nothing_in_memory() {
    // Twice as many double the tables that hold them; these are filled as the average table is.
    let alike = for_each(320, |_| None).await;
    println!("a channel at rest keeps {alike:.0} bytes");
    assert!(alike < 1_500.0, "{alike} bytes");
}

#[tokio::test]
async fn a_filter_of_its_own_costs_a_channel_at_rest_what_finds_its_records() {
    let own = for_each(320, |number| Some(format!("site = 'site-{number}' AND id > {number}"))).await;
    println!("a channel at rest with a filter of its own keeps {own:.0} bytes");
    assert!(own < 16_384.0, "{own} bytes");
}
