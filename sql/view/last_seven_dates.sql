-- What the seven newest report dates added up to, as of each date: for trends without weekdays.
--
-- grain:  one row per date, and day, publisher, store and country of the seven dates up to it
-- key:    as_of_date, report_date, publisher_id, store_id, country
-- kind:   view
-- reads:  view.performance
-- columns:
--   as_of_date           date   the last of seven report dates
--   report_date          date   one of these seven dates
--   publisher_id         text   the publisher, or (unattributed)
--   store_id             text   the store, as in view.performance
--   country              text   the country, as in view.performance
--   clicks               count  visits through promotion links
--   orders               count  orders that such visits earned, on the day placed
--   order_amount         money  amount of these orders' lines, before refunds
--   approved_commission  money  owed: change of the approved commission, refunds in it
--
-- Each row of `view.performance` is in it up to seven times: add up rows of one `as_of_date` only.
-- The ratios are those of `view.performance`. The first six dates have no seven dates up to them,
-- so they are no `as_of_date`. A date without any row is not counted. Columns that two sides of a
-- join have are named anew, because ClickHouse would keep the side in the name.
with dates as (
    select report_date
    from view.performance
    group by report_date
),

numbered as (
    select dates.report_date as report_date, count(*) as nth
    from dates
    cross join dates as earlier
    where earlier.report_date <= dates.report_date
    group by dates.report_date
),

sevens as (
    select ends.report_date as as_of_date, numbered.report_date as report_date
    from numbered as ends
    cross join numbered
    where ends.nth >= 7
        and numbered.nth between ends.nth - 6 and ends.nth
)

select
    sevens.as_of_date,
    sevens.report_date as report_date,
    performance.publisher_id,
    performance.store_id,
    performance.country,
    performance.clicks,
    performance.orders,
    performance.order_amount,
    performance.approved_commission
from sevens
inner join view.performance as performance
    on performance.report_date = sevens.report_date
