-- How many of the rows that were looked at a run would reject, by log and reason.
--
-- grain:  one row per log and reason
-- reads:  clean.checked_clicks, clean.checked_order_events
--
-- Duplicates are counted by their ids alone, among the rows that were looked at.
with judged as (
    select 'clicks' as log, click_id as row_id, is_accepted, reject_reason
    from clean.checked_clicks
    union all
    select 'orders' as log, event_id as row_id, is_accepted, reject_reason
    from clean.checked_order_events
),

reasons as (
    select log, reject_reason as reason, count(*) as rejected_rows
    from judged
    where reject_reason is not null
    group by log, reject_reason
    union all
    select log, 'duplicate' as reason, count(*) - count(distinct row_id) as rejected_rows
    from judged
    where reject_reason is null and not is_accepted
    group by log
)

select log, reason, rejected_rows
from reasons
where rejected_rows > 0
order by log, rejected_rows desc, reason
