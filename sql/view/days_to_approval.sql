-- How many days after they were placed order lines were completed.
--
-- grain:  one row per day of completion, publisher, store, country and number of days
-- key:    report_date, publisher_id, store_id, country, days_to_approval
-- kind:   view
-- reads:  report.transaction_details
-- columns:
--   report_date        date   local date of the completion
--   publisher_id       text   the credited publisher
--   store_id           text   the store that sold the lines
--   country            text   the order's country, or (none)
--   days_to_approval   count  calendar days from the order to its completion, in UTC
--   completed_lines    count  order lines completed
--   actual_commission  money  booked by completions, before refunds: not owed
--   waited_days        count  days_to_approval of all these lines together
--
-- The average over any rows is `sum(waited_days) / sum(completed_lines)`, not an average of rows.
-- Lines that still wait are not in it, so the newest orders look faster than they will be.
with completions as (
    select
        report_date,
        publisher_id,
        store_id,
        coalesce(country, '(none)') as country,
        cast(cast(event_at as date) - cast(placed_at as date) as bigint) as days_to_approval,
        approved_commission
    from report.transaction_details
    where is_effective and movement = 'completed'
)

select
    report_date,
    publisher_id,
    store_id,
    country,
    days_to_approval,
    count(*) as completed_lines,
    cast(sum(approved_commission) as decimal(18, 2)) as actual_commission,
    cast(sum(days_to_approval) as bigint) as waited_days
from completions
group by report_date, publisher_id, store_id, country, days_to_approval
