//! What a run tells, and remembers, about dates that it does not make: which are outdated, by what,
//! and which were never made (D7).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use chrono::NaiveDate;

use super::workspace::{Staged, Workspace};
use crate::days::DateRange;
use crate::job::Job;
use crate::lineage::{self, Judge, Touched, Unclean};
use crate::plan::{LogPlan, Plan};
use crate::raw::Log;
use crate::stop::Stop;
use crate::summary::{DateKind, Outdated, Summary};
use crate::warehouse::{Seen, Warehouse};

const CONVERSIONS: &str = "attribution.conversions";

/// What is stored before changed reference rows are: the dates that these rows touch, because the
/// next run no longer sees that they changed. The files that the replaced rows came from are forgotten:
/// if this run ends early and such a file is put back, it is not the one that the stored rows came
/// from.
pub fn before_reference_rows_change(workspace: &Workspace<'_>) -> Seen {
    let pending = workspace.plan.touched.pending();
    let mut seen = Seen { pending, ..workspace.warehouse.seen().clone() };
    let replaced = workspace.reference.new_tables();
    seen.reference.retain(|name, _| !replaced.contains(name.as_str()));
    seen
}

/// Those of some order dates whose conversions are outdated, now that their clean rows are made.
pub fn outdated_order_dates(
    workspace: &Workspace<'_>,
    dates: &BTreeSet<NaiveDate>,
) -> Result<BTreeSet<NaiveDate>> {
    let nothing = Unclean::new();
    let judge = judge(workspace, &nothing)?;
    let mut outdated = BTreeSet::new();
    for date in dates {
        if judge.why_order_date(*date)?.is_some() {
            outdated.insert(*date);
        }
    }
    Ok(outdated)
}

/// The report dates to make of some dates: those that the plan names, and those whose clean rows or
/// conversions turned out to have changed.
pub fn outdated_report_dates(
    workspace: &Workspace<'_>,
    dates: DateRange,
    staged: &Staged,
) -> Result<BTreeSet<NaiveDate>> {
    let nothing = Unclean::new();
    let conversions = staged.get(CONVERSIONS).map(Vec::as_slice).unwrap_or_default();
    let judge = judge(workspace, &nothing)?.with_conversions(conversions);
    let plan = &workspace.plan;
    let mut outdated = BTreeSet::new();
    for date in dates.iter() {
        let is_wanted = plan.reports.contains_key(&date)
            || (plan.maybe_reports.contains(&date) && judge.why_report_date(date)?.is_some());
        if is_wanted {
            outdated.insert(date);
        }
    }
    Ok(outdated)
}

fn judge<'a>(workspace: &'a Workspace<'_>, unclean: &'a Unclean) -> Result<Judge<'a>> {
    let Workspace { job, warehouse, plan, request, .. } = workspace;
    Judge::new(job, warehouse, &plan.touched, unclean, request.as_of)
}

/// Names the dates that stay outdated, and stores what the next run has to know.
pub async fn at_the_end(workspace: &mut Workspace<'_>) -> Result<(), Stop> {
    let plan = &workspace.plan;
    let mut touched = plan.touched.clone();
    touched.clean.retain(|(log, dt), _| !plan.log(*log).to_clean.contains_key(dt));
    let made = workspace.summary.written.get("attribution/conversions");
    touched.orders.retain(|date, _| made.is_none_or(|made| !made.contains(date)));
    let summary = &mut *workspace.summary;
    tell_outdated(workspace.job, &workspace.warehouse, plan, &touched, summary)?;
    let seen = Seen {
        reference: workspace.reference.sources(),
        raw: looks(workspace)?,
        pending: touched.pending(),
    };
    workspace.warehouse.see(seen).await?;
    Ok(())
}

/// How raw files look that have the contents that their dates were cleaned from, where they look
/// otherwise than then (D8).
fn looks(workspace: &Workspace<'_>) -> Result<BTreeMap<String, BTreeMap<NaiveDate, String>>> {
    let mut all = workspace.warehouse.seen().raw.clone();
    for log in [Log::Clicks, Log::Orders] {
        let LogPlan { raw, landing, to_clean, left_outdated, .. } = workspace.plan.log(log);
        let dates = all.entry(log.name().to_owned()).or_default();
        for dt in landing {
            let made = lineage::made_clean(&workspace.warehouse, log, *dt)?;
            let tags = raw.tags(*dt);
            let is_cleaned = to_clean.contains_key(dt);
            match made.filter(|made| !lineage::is_of_files(made, &tags)) {
                Some(_) if !is_cleaned && !left_outdated.contains_key(dt) => {
                    dates.insert(*dt, tags);
                }
                _ => {
                    dates.remove(dt);
                }
            }
        }
    }
    all.retain(|_, dates| !dates.is_empty());
    Ok(all)
}

/// Adds to a summary which dates are outdated, by what, which were never made, and what is lost.
/// `touched` are the dates that changed reference rows touch and that were not made again.
pub fn tell_outdated(
    job: &Job,
    warehouse: &Warehouse,
    plan: &Plan,
    touched: &Touched,
    summary: &mut Summary,
) -> Result<()> {
    let mut unclean = plan.left_outdated();
    unclean.retain(|(log, dt), _| {
        plan.log(*log).landing.contains(dt) || touched.clean.contains_key(&(*log, *dt))
    });
    let judge = Judge::new(job, warehouse, touched, &unclean, None)?;
    let mut outdated = Vec::new();
    let mut note = |kind, date, reason: String| outdated.push(Outdated { date, kind, reason });
    let landing: BTreeSet<(NaiveDate, &str)> =
        unclean.iter().map(|((_, dt), why)| (*dt, why.as_str())).collect();
    for (dt, why) in landing {
        note(DateKind::Landing, dt, why.to_owned());
    }
    let reported = crate::plan::reported(warehouse)?;
    for date in warehouse.table(CONVERSIONS)?.dates() {
        if let Some(why) = judge.why_order_date(date)? {
            note(DateKind::Order, date, why);
        } else if let Some(why) = judge.why_perhaps(date) {
            note(DateKind::Order, date, why.to_owned());
        } else if reported.contains(&date)
            && let Some(why) = judge.why_report_date(date)?
        {
            note(DateKind::Report, date, why);
        }
    }
    for date in plan.holes.difference(&reported) {
        let why = "never made, although its landing dates are there";
        note(DateKind::Report, *date, why.to_owned());
    }
    for date in &plan.beyond_repair {
        let why = "reads clean rows that are lost, and whose raw files are gone";
        note(DateKind::Report, *date, why.to_owned());
    }
    outdated.sort_by_key(|outdated| (outdated.date, outdated.kind));
    summary.outdated = outdated;
    summary.waiting =
        plan.waiting_for().into_iter().map(|(dates, landing)| (landing, dates)).collect();
    Ok(())
}
