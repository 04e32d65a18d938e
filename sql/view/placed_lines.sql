-- Order lines of the report dates by the day they were placed, with what attribution said of them.
--
-- grain:  one row per day, store, country and status
-- key:    report_date, store_id, country, status
-- kind:   view
-- reads:  attribution.conversions, report.orders
-- columns:
--   report_date         date   local date on which the lines were placed
--   store_id            text   the store that sold the lines
--   country             text   the order's country, or (none)
--   status              text   attributed, no_click or store_not_joined
--   placed_lines        count  order lines placed
--   unattributed_lines  count  those of them that are credited to nobody
--   placed_amount       money  amount of all these lines, before refunds
-- ratios:
--   unattributed_share = unattributed_lines / placed_lines
--
-- Runs also make conversions of earlier dates, to which later events may belong. Dates without a
-- report are left out.
select
    order_date as report_date,
    store_id,
    coalesce(country, '(none)') as country,
    status,
    count(*) as placed_lines,
    cast(sum(case when status = 'attributed' then 0 else 1 end) as bigint) as unattributed_lines,
    cast(sum(amount) as decimal(18, 2)) as placed_amount
from attribution.conversions
where order_date in (select report_date from report.orders)
group by order_date, store_id, coalesce(country, '(none)'), status
