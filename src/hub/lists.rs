//! Tasks and jobs of many gateways in one list: what is known of those that are there, and a word on each
//! that is not.

use super::fleet::Gateway;
use super::picture::List;
use super::query::{Place, Query};
use super::rows::{Job, Run, Task};
use super::standing::{Standing, Trouble, trouble};
use serde::Serialize;
use std::sync::Arc;

/// How a gateway whose rows are in a list stands.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    id: String,
    connected: bool,
    as_of: Option<u64>,
    age_ms: Option<u64>,
}

/// What each list says beside its rows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct About {
    /// Where the next page begins, if there is one.
    next_cursor: Option<String>,
    /// Whose rows these are.
    gateways: Vec<Source>,
    /// Gateways whose rows are missing or old.
    errors: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskRow {
    gateway_id: String,
    #[serde(flatten)]
    task: Task,
}

#[derive(Debug, Serialize)]
pub(super) struct Tasks {
    tasks: Vec<TaskRow>,
    #[serde(flatten)]
    about: About,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobRow {
    gateway_id: String,
    #[serde(flatten)]
    job: Job,
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
pub(super) struct Jobs {
    jobs: Vec<JobRow>,
    #[serde(flatten)]
    about: About,
}

/// A job that fits, and its last runs.
type Found = (Arc<Job>, Vec<Arc<Run>>);

/// The tasks of these gateways, newest first.
pub(super) fn tasks(gateways: &[Arc<Gateway>], query: &Query) -> Tasks {
    let mut found: Vec<(Place, Arc<Task>)> = Vec::new();
    for (gateway, picture) in pictures(gateways) {
        let fits = picture.tasks().filter(|task| {
            is_one(&query.status, Some(&task.status))
                && is_one(&query.agent, task.agent_id.as_deref())
                && query.since.is_none_or(|since| task.updated_at >= since)
        });
        found.extend(fits.filter_map(|task| {
            // Newest first, and rows that are still changing stay where they are.
            let place = Place {
                order: u64::MAX - task.created_at,
                gateway: gateway.id.to_string(),
                id: task.id.clone(),
            };
            is_after(query, &place).then(|| (place, task.clone()))
        }));
    }
    let (page, next_cursor) = page(found, query.limit);
    let tasks = page
        .into_iter()
        .map(|(place, task)| TaskRow { gateway_id: place.gateway, task: Task::clone(&task) })
        .collect();
    Tasks { tasks, about: about(gateways, &[List::Tasks], next_cursor) }
}

/// The jobs of these gateways, by gateway and name.
pub(super) fn jobs(gateways: &[Arc<Gateway>], query: &Query) -> Jobs {
    let mut found: Vec<(Place, Found)> = Vec::new();
    for (gateway, picture) in pictures(gateways) {
        for job in picture.jobs().filter(|job| fits(job, query)) {
            let place =
                Place { order: 0, gateway: gateway.id.to_string(), id: format!("{} {}", job.name, job.id) };
            if is_after(query, &place) {
                let runs = picture.runs().filter(|run| run.job_id == job.id).take(query.runs);
                found.push((place, (job.clone(), runs.cloned().collect())));
            }
        }
    }
    let (page, next_cursor) = page(found, query.limit);
    let row = |(place, (job, runs)): (Place, Found)| JobRow {
        gateway_id: place.gateway,
        job: Job::clone(&job),
        runs: runs.iter().map(|run| Run::clone(run)).collect(),
    };
    let jobs = page.into_iter().map(row).collect();
    Jobs { jobs, about: about(gateways, &[List::Jobs, List::Runs], next_cursor) }
}

/// A job's state is how its last run went, or that it runs, or that it is off.
fn fits(job: &Job, query: &Query) -> bool {
    let now = if job.running_at_ms.is_some() { "running" } else { "waiting" };
    let off = if job.enabled { "enabled" } else { "disabled" };
    let in_state = query.status.is_empty()
        || [Some(now), Some(off), job.last_run_status.as_deref()]
            .into_iter()
            .flatten()
            .any(|state| query.status.iter().any(|word| word == state));
    in_state
        && is_one(&query.agent, job.effective_agent_id.as_deref())
        && query.since.is_none_or(|since| job.running_at_ms.max(job.last_run_at_ms) >= Some(since))
}

fn is_one(words: &[String], word: Option<&str>) -> bool {
    words.is_empty() || word.is_some_and(|word| words.iter().any(|one| one == word))
}

fn is_after(query: &Query, place: &Place) -> bool {
    query.after.as_ref().is_none_or(|after| place > after)
}

/// The first rows in order, and where the rest begins.
fn page<T>(mut rows: Vec<(Place, T)>, limit: usize) -> (Vec<(Place, T)>, Option<String>) {
    if rows.len() > limit {
        // Only the page itself has to be sorted.
        rows.select_nth_unstable_by(limit, |(one, _), (other, _)| one.cmp(other));
        rows.truncate(limit);
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let cursor = rows.last().map(|(place, _)| place.write());
        return (rows, cursor);
    }
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    (rows, None)
}

fn pictures(
    gateways: &[Arc<Gateway>],
) -> impl Iterator<Item = (&Arc<Gateway>, parking_lot::RwLockReadGuard<'_, super::picture::Picture>)> {
    gateways.iter().filter_map(|gateway| Some((gateway, gateway.operator.as_ref()?.picture())))
}

fn about(gateways: &[Arc<Gateway>], lists: &[List], next_cursor: Option<String>) -> About {
    let mut about = About { next_cursor, gateways: Vec::with_capacity(gateways.len()), errors: Vec::new() };
    for gateway in gateways {
        let standing = Standing::of(gateway);
        about.errors.extend(trouble(gateway, &standing, lists));
        about.gateways.push(Source {
            id: gateway.id.to_string(),
            connected: standing.connected,
            as_of: standing.as_of,
            age_ms: standing.age_ms,
        });
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Page after page, each row once and in order, whatever the page's size.
        #[test]
        fn pages_make_up_the_whole(orders in proptest::collection::vec(0_u64..50, 0..60), limit in 1_usize..20) {
            let all: Vec<Place> = orders
                .iter()
                .enumerate()
                .map(|(at, order)| Place { order: *order, gateway: "g".into(), id: at.to_string() })
                .collect();
            let mut query = super::super::query::Query::read(None, super::super::query::Takes::Tasks).unwrap();
            let mut seen = Vec::new();
            loop {
                let rows = all.iter().filter(|place| is_after(&query, place)).map(|place| (place.clone(), ()));
                let (rows, next) = page(rows.collect(), limit);
                prop_assert!(rows.len() <= limit);
                seen.extend(rows.into_iter().map(|(place, ())| place));
                let Some(next) = next else { break };
                let text = format!("cursor={next}");
                query = super::super::query::Query::read(Some(&text), super::super::query::Takes::Tasks).unwrap();
            }
            let mut sorted = all;
            sorted.sort();
            prop_assert_eq!(seen, sorted);
        }
    }

    #[test]
    fn a_job_has_several_states() {
        let job = Job {
            enabled: true,
            last_run_status: Some("error".into()),
            last_run_at_ms: Some(5),
            ..Job::default()
        };
        let check = |text: &str| {
            fits(
                &job,
                &super::super::query::Query::read(Some(text), super::super::query::Takes::Jobs).unwrap(),
            )
        };
        assert!(check("") && check("status=error") && check("status=enabled,x") && check("since=5"));
        assert!(!check("status=running") && !check("status=disabled") && !check("since=6"));
        assert!(!check("agent=main"));
    }
}
