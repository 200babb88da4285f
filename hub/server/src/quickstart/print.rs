//! What a newcomer reads: the URLs and commands once, then a line a run.

use chrono::{DateTime, Local};
use dispatch_schemas::{Run, Status};

use super::seed::{IMAGE, POSTED_TYPE};

const OUTPUT_CHARS: usize = 100;
const WIDTHS: [usize; 5] = [8, 20, 16, 6, 6];

/// The URLs, three commands to paste, and the head of the table of runs.
pub(super) fn welcome(url: &str, program: &str, port: &str) -> String {
    let event = format!(
        r#"{{"specversion":"1.0","id":"'$(date +%s%N)'","source":"/me","type":"{POSTED_TYPE}","data":{{"name":"Jon","place":"Winterfell"}}}}"#
    );
    let head = columns(["TIME", "EVENT", "FUNCTION", "STATUS", "MS"], "OUTPUT");
    format!(
        "
Dispatch takes events at {url}/v1/events
  API       {url}/openapi.json
  metrics   {url}/metrics

Paste one of these into another terminal:

  # post an event
  curl -sS {url}/v1/events -H 'content-type: application/cloudevents+json' -d '{event}'

  # list the runs
  {program} get runs{port}

  # create a function; call it with: {program} exec echo --input '{{\"a\": 1}}' --wait{port}
  echo 'def handle(ctx, payload): return payload' > echo.py; {program} create function echo ./echo.py --image {IMAGE}{port}

Every run, as it happens (Ctrl-C stops the hub; what it has is kept):

{head}"
    )
}

/// One run on one line.
pub(super) fn run(run: &Run) -> String {
    let finished = run.finished_time.unwrap_or(run.executed_time);
    let time = DateTime::from_timestamp_nanos(finished).with_timezone(&Local);
    let event = run
        .event
        .as_ref()
        .map_or("(exec)", |event| event.event_type.as_str());
    let status = run.status.map_or("", Status::as_str);
    let millis = finished.saturating_sub(run.executed_time) / 1_000_000;
    let output = match (&run.error, &run.output) {
        (Some(error), _) => format!("{}: {}", error.ty, error.message),
        (None, Some(output)) => output.get().to_owned(),
        (None, None) => String::new(),
    };
    let time = time.format("%H:%M:%S").to_string();
    columns(
        [&time, event, &run.function_name, status, &millis.to_string()],
        &one_line(&output),
    )
}

fn columns(cells: [&str; 5], last: &str) -> String {
    let mut line = String::new();
    for (cell, width) in cells.into_iter().zip(WIDTHS) {
        line.push_str(&format!("{cell:<width$}  "));
    }
    line.push_str(last);
    line.trim_end().to_owned()
}

/// Cut to one line, with nothing in it that could move a terminal's cursor.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().map(plain).take(OUTPUT_CHARS).collect();
    if text.chars().nth(OUTPUT_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use dispatch_schemas::{CloudEvent, RunError};
    use serde_json::value::RawValue;

    use super::*;

    fn ended(output: Option<&str>) -> Run {
        Run {
            function_name: "hello".into(),
            executed_time: 1_000_000_000,
            finished_time: Some(1_012_000_000),
            status: Some(Status::Ready),
            event: Some(CloudEvent {
                event_type: "cron.trigger".into(),
                ..CloudEvent::default()
            }),
            output: output.map(|text| RawValue::from_string(text.into()).unwrap()),
            ..Run::default()
        }
    }

    #[test]
    fn a_run_is_one_line_under_its_headings() {
        let head = columns(["TIME", "EVENT", "FUNCTION", "STATUS", "MS"], "OUTPUT");
        let line = run(&ended(Some("{\"a\":\n1}")));

        assert!(line.ends_with("{\"a\": 1}"), "{line}");
        for (heading, cell) in [
            ("EVENT", "cron.trigger"),
            ("FUNCTION", "hello"),
            ("MS", "12 "),
            ("OUTPUT", "{\"a\""),
        ] {
            assert_eq!(head.find(heading), line.find(cell), "{line}");
        }
    }

    #[test]
    fn output_is_cut_and_moves_no_cursor() {
        let long = format!("\"{}\"", "x".repeat(500));
        assert!(run(&ended(Some(&long))).len() < 200);
        assert_eq!(one_line("a\x1b[2Jb"), "a [2Jb");
    }

    #[test]
    fn an_error_stands_where_the_output_would() {
        let mut failed = ended(None);
        failed.status = Some(Status::Error);
        failed.error = Some(RunError {
            ty: "InputError".into(),
            message: "no name".into(),
            stacktrace: Vec::new(),
        });

        assert!(run(&failed).ends_with("InputError: no name"));
    }
}
