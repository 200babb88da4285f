//! A queue of our own and the EventBridge rules that send to it: made, or brought to what is wanted.
//!
//! Everything can be repeated: names are made from the settings, so the next start finds what this one made. A rule
//! of ours that is no longer wanted is taken away; what others made is not touched.

use std::time::Duration;

use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use sha2::{Digest as _, Sha256};

use crate::client::{AwsError, Clients};
use crate::config::Wanted;
use crate::queue::Queue;

/// 14 days, the most there is: how long the driver may be away.
const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);
/// The one target of each rule.
const TARGET: &str = "queue";
/// The most rules looked at when some may have to go.
const MOST_RULES: usize = 1000;

/// Makes what is not there and says where the queue is.
pub(crate) async fn make(
    clients: &Clients,
    wanted: &Wanted,
    visibility: Duration,
) -> Result<Queue, AwsError> {
    let url = queue_url(clients, &wanted.name).await?;
    let queue = Queue::open(clients.sqs.clone(), url, visibility).await?;
    let mut rules = Vec::new();
    for pattern in &wanted.patterns {
        let name = rule_name(wanted, pattern);
        let arn = put(clients, wanted, &name, Trigger::Pattern(pattern)).await?;
        rules.push((name, arn, wanted.bus.as_deref()));
    }
    if let Some(schedule) = &wanted.schedule {
        let name = rule_name(wanted, schedule);
        let arn = put(clients, wanted, &name, Trigger::Schedule(schedule)).await?;
        rules.push((name, arn, None));
    }
    // The queue lets a rule send before the rule does.
    let arns: Vec<&str> = rules.iter().map(|(_, arn, _)| arn.as_str()).collect();
    set_attributes(clients, &queue, &arns).await?;
    for (name, _, bus) in &rules {
        aim(clients, name, *bus, queue.arn()).await?;
    }
    let kept: Vec<&str> = rules.iter().map(|(name, _, _)| name.as_str()).collect();
    remove_others(clients, wanted, &kept).await?;
    tracing::info!(
        queue = queue.url(),
        rules = rules.len(),
        "queue and rules are as they should be"
    );
    Ok(queue)
}

async fn queue_url(clients: &Clients, name: &str) -> Result<String, AwsError> {
    let found = clients.sqs.get_queue_url().queue_name(name).send().await;
    let found = match found {
        Ok(answer) => answer.queue_url,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(|e| e.is_queue_does_not_exist()) =>
        {
            None
        }
        Err(error) => return Err(AwsError::of("look for the queue")(error)),
    };
    if let Some(url) = found {
        return Ok(url);
    }
    let made = clients.sqs.create_queue().queue_name(name).send().await;
    let made = made.map_err(AwsError::of("make the queue"))?;
    made.queue_url
        .ok_or_else(|| AwsError::new("make the queue", "it has no URL"))
}

async fn set_attributes(clients: &Clients, queue: &Queue, rules: &[&str]) -> Result<(), AwsError> {
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "dispatch-rules",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue.arn(),
            "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
        }],
    });
    clients
        .sqs
        .set_queue_attributes()
        .queue_url(queue.url())
        .attributes(QueueAttributeName::Policy, policy.to_string())
        .attributes(QueueAttributeName::ReceiveMessageWaitTimeSeconds, "20")
        .attributes(
            QueueAttributeName::MessageRetentionPeriod,
            RETENTION.as_secs().to_string(),
        )
        .send()
        .await
        .map_err(AwsError::of("set the queue's policy"))?;
    Ok(())
}

/// The queue's name and a digest of what the rule says: another pattern is another rule.
fn rule_name(wanted: &Wanted, says: &str) -> String {
    let digest = Sha256::digest(says);
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hex}", wanted.name)
}

/// By which a rule of ours is known again.
fn description(wanted: &Wanted) -> String {
    format!("made by Dispatch: sends to the queue {}", wanted.name)
}

/// What makes a rule send.
#[derive(Debug, Clone, Copy)]
enum Trigger<'a> {
    Pattern(&'a str),
    Schedule(&'a str),
}

/// Makes the rule or changes it, and gives its ARN.
async fn put(
    clients: &Clients,
    wanted: &Wanted,
    name: &str,
    trigger: Trigger<'_>,
) -> Result<String, AwsError> {
    let rule = clients.eventbridge.put_rule();
    let rule = rule.name(name).description(description(wanted));
    let (what, rule) = match trigger {
        Trigger::Pattern(pattern) => (
            "make the rule of an event pattern",
            rule.event_pattern(pattern).set_event_bus_name(wanted.bus.clone()),
        ),
        Trigger::Schedule(schedule) => (
            "make the rule of the schedule",
            rule.schedule_expression(schedule),
        ),
    };
    let answer = rule.send().await.map_err(AwsError::of(what))?;
    answer
        .rule_arn
        .ok_or_else(|| AwsError::new(what, "it has no ARN"))
}

async fn aim(clients: &Clients, rule: &str, bus: Option<&str>, queue: &str) -> Result<(), AwsError> {
    let what = "let a rule send to the queue";
    let target = Target::builder().id(TARGET).arn(queue).build();
    let target = target.map_err(|e| AwsError::new(what, e.to_string()))?;
    let request = clients.eventbridge.put_targets().rule(rule).targets(target);
    let answer = request.set_event_bus_name(bus.map(str::to_owned)).send().await;
    match answer.map_err(AwsError::of(what))?.failed_entries().first() {
        Some(failed) => Err(AwsError::new(
            what,
            failed.error_message().unwrap_or("it is refused"),
        )),
        None => Ok(()),
    }
}

/// Takes away rules of ours that are no longer wanted.
async fn remove_others(clients: &Clients, wanted: &Wanted, kept: &[&str]) -> Result<(), AwsError> {
    let bus = || wanted.bus.clone();
    let (mut next, mut seen) = (None, 0);
    loop {
        let request = clients
            .eventbridge
            .list_rules()
            .name_prefix(format!("{}-", wanted.name));
        let answer = request
            .set_event_bus_name(bus())
            .set_next_token(next)
            .send()
            .await;
        let answer = answer.map_err(AwsError::of("list the rules"))?;
        for rule in answer.rules() {
            seen += 1;
            let name = rule.name().unwrap_or_default();
            let is_ours = rule.description() == Some(&description(wanted));
            if !is_ours || kept.contains(&name) {
                continue;
            }
            let request = clients.eventbridge.remove_targets().rule(name).ids(TARGET);
            let removed = request.set_event_bus_name(bus()).send().await;
            removed.map_err(AwsError::of("take a rule's target away"))?;
            let request = clients.eventbridge.delete_rule().name(name);
            let removed = request.set_event_bus_name(bus()).send().await;
            removed.map_err(AwsError::of("take a rule away"))?;
            tracing::info!(rule = name, "rule taken away: it is no longer among the settings");
        }
        next = answer.next_token;
        if next.is_none() || seen >= MOST_RULES {
            return Ok(());
        }
    }
}
