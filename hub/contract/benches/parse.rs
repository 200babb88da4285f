//! Parsing and writing one event: 1 KiB of JSON data, structured and binary.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dispatch_contract::Event;
use http::HeaderMap;

fn event() -> Event {
    let data = format!(
        r#"{{"vm":{{"name":"web-01","moref":"vm-57"}},"pad":"{}"}}"#,
        "x".repeat(950)
    );
    Event::builder("7d0e2c4e-1", "https://vc.example.com/sdk", "vm.powered.off")
        .subject("VirtualMachine/vm-57")
        .attribute("time", "2026-01-31T23:59:59.123456Z")
        .attribute("eventclass", "event")
        .json(data)
        .build()
        .expect("a valid event")
}

fn parse(c: &mut Criterion) {
    let event = event();
    let structured = event.to_json();
    let mut headers = HeaderMap::new();
    event.write_headers(&mut headers);
    let body = event.data_bytes().expect("data");
    let encoded: Bytes = event.encoded();

    let mut group = c.benchmark_group("event");
    group.throughput(Throughput::Bytes(structured.len() as u64));
    group.bench_function("from_structured", |b| {
        b.iter(|| Event::from_json(black_box(&structured)))
    });
    group.bench_function("from_binary", |b| {
        b.iter(|| Event::from_headers(black_box(&headers), body.clone()))
    });
    group.bench_function("decode", |b| b.iter(|| Event::decode(black_box(encoded.clone()))));
    group.bench_function("to_structured", |b| b.iter(|| black_box(&event).to_json()));
    group.bench_function("to_binary", |b| {
        b.iter(|| {
            let mut headers = HeaderMap::with_capacity(8);
            black_box(&event).write_headers(&mut headers);
            headers
        })
    });
    group.bench_function("clone", |b| b.iter(|| black_box(&event).clone()));
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
