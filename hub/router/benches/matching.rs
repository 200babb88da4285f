//! What matching one event costs, by number of subscriptions: 60 % exact type, 20 % type and tenant, 10 %
//! source prefix, 10 % tenant and subject suffix. The linear search over the same filters is the yardstick.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a bench

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dispatch_contract::Event;
use dispatch_router::{Filter, FilterVersion, Index};

fn filter(n: usize, of: usize) -> Filter {
    let types = of.max(10);
    let tenant = format!("tenant-{}", n % (of / 5).max(5));
    Filter::All(match n % 10 {
        0..=5 => vec![Filter::exact("type", format!("com.example.type.{}", n % types))],
        6 | 7 => vec![
            Filter::exact("type", format!("com.example.type.{}", n % types)),
            Filter::exact("tenant", tenant),
        ],
        8 => vec![Filter::prefix("source", format!("/region/{}/", n % types))],
        _ => vec![
            Filter::exact("tenant", tenant),
            Filter::suffix("subject", format!("-{}", n % 100)),
        ],
    })
}

fn events(of: usize) -> Vec<Event> {
    let types = of.max(10);
    let event = |n: usize| {
        let n = n * 7919;
        Event::builder(
            format!("id-{n}"),
            format!("/region/{}/host", n % types),
            format!("com.example.type.{}", (n / 3) % types),
        )
        .subject(format!("vm-{}", n % 100))
        .attribute("tenant", format!("tenant-{}", n % (of / 5).max(5)))
        .json(format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)))
        .build()
        .unwrap()
    };
    (0..256).map(event).collect()
}

fn index(organization: &Arc<str>, filters: &[Filter]) -> Index {
    let mut index = Index::default();
    for (owner, filter) in filters.iter().enumerate() {
        let filter = filter.clone();
        index.put(owner, organization, &[FilterVersion { from: 0, filter }], 0);
    }
    index
}

fn linear(filters: &[Filter], event: &Event) -> Vec<usize> {
    (0..filters.len())
        .filter(|n| filters[*n].matches(event))
        .collect()
}

fn matching(c: &mut Criterion) {
    let organization: Arc<str> = "dispatch".into();
    let mut group = c.benchmark_group("matching");
    group.throughput(Throughput::Elements(1));
    for of in [10, 1_000, 10_000, 100_000] {
        let filters: Vec<Filter> = (0..of).map(|n| filter(n, of)).collect();
        let events = events(of);
        let mut index = index(&organization, &filters);
        let mut found = Vec::new();
        let mut matches = 0;
        for event in &events[..32] {
            found.clear();
            index.matches(&organization, 1, event, &mut found);
            found.sort_unstable();
            assert_eq!(
                found,
                linear(&filters, event),
                "the index finds what a linear search finds"
            );
            matches += found.len();
        }
        println!(
            "{of} subscriptions: {:.2} matches an event",
            matches as f64 / 32.0
        );

        let mut turn = 0;
        group.bench_function(BenchmarkId::new("index", of), |b| {
            b.iter(|| {
                turn = (turn + 1) % events.len();
                found.clear();
                index.matches(&organization, 1, black_box(&events[turn]), &mut found);
                found.len()
            });
        });
        if of <= 10_000 {
            group.bench_function(BenchmarkId::new("linear", of), |b| {
                b.iter(|| {
                    turn = (turn + 1) % events.len();
                    linear(&filters, black_box(&events[turn])).len()
                });
            });
        }
    }
    group.finish();
}

fn changing(c: &mut Criterion) {
    let organization: Arc<str> = "dispatch".into();
    let filters: Vec<Filter> = (0..10_000).map(|n| filter(n, 10_000)).collect();
    let mut index = index(&organization, &filters);
    let mut turn = 0;
    c.bench_function("replace one of 10000", |b| {
        b.iter_batched(
            || {
                turn = (turn + 7919) % filters.len();
                let filter = filters[turn].clone();
                (turn, [FilterVersion { from: 0, filter }])
            },
            |(owner, versions)| index.put(owner, &organization, &versions, 0),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, matching, changing);
criterion_main!(benches);
