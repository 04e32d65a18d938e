-- Every event of the dates is a movement or an unbooked event, and it is that once.
--
-- reads:  clean.order_events, attribution.movements, report.unbooked_events
-- params: $from, $to, $zone
--
-- Both sides are counted, and their ids are summed up as numbers. A join of all events would take
-- longer than the audit is worth. An id of its own number makes the sums differ when one event is
-- there twice and another not at all.
with sides as (
    select local_date(event_at, $zone) as report_date, event_type, event_id, 1 as side
    from clean.order_events
    where event_at >= $from and event_at < $to
    union all
    select report_date, movement as event_type, event_id, -1 as side
    from attribution.movements
    union all
    select report_date, event_type, event_id, -1 as side
    from report.unbooked_events
),

sums as (
    select
        report_date,
        event_type,
        sum(case when side > 0 then 1 else 0 end) as events,
        sum(case when side < 0 then 1 else 0 end) as booked_or_not,
        sum(side * (hash64(event_id) % 1000000007)) as difference_of_ids
    from sides
    group by report_date, event_type
)

select report_date, event_type, events, booked_or_not, difference_of_ids
from sums
where events <> booked_or_not or difference_of_ids <> 0
order by report_date, event_type
