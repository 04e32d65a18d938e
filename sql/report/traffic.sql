-- Visits per day and where they came from, with the orders of that day that such visits earned.
--
-- grain:  one row per link, page and kind of visitor on the day
-- key:    report_date, publisher_id, tracking_id, store_id, country, device
-- kind:   stored
-- version: 2
-- reads:  report.visits, report.repeated_visits, report.earned_orders
-- params: $date
-- columns:
--   report_date   date   local date of the visits, and of the orders
--   publisher_id  text   the publisher whose link it was
--   tracking_id   text   the publisher's own label for the link, or (none)
--   store_id      text   the store of the page landed on, or (none)
--   country       text   the click's country, or (none)
--   device        text   the click's device, or (none)
--   clicks        count  visits on the day
--   visitors      count  distinct visitors, and buyers among visits without a visitor
--   orders        count  distinct orders placed on the day that such clicks earned
--   order_lines   count  order lines of these orders that such clicks earned
--   order_amount  money  amount of these lines, before refunds
--
-- An order counts on the day it was placed, with the dimensions of the click that won it. That
-- click may have happened weeks before, so a row may have orders and no clicks.
with visits as (
    select
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor, visit_hash
    from report.visits
    where report_date = $date
),

-- One row per visitor, or per buyer where there is no visitor, so counting rows counts distinct
-- ones. Nearly every visit is the only one with its hash, and is not compared with the others.
visitors as (
    select
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor,
        1 as clicks
    from visits
    where not exists (
        select 1
        from report.repeated_visits as repeated
        where repeated.visit_hash = visits.visit_hash
    )
    union all
    select
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor,
        count(*) as clicks
    from visits
    where exists (
        select 1
        from report.repeated_visits as repeated
        where repeated.visit_hash = visits.visit_hash
    )
    group by
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor
),

counts as (
    select
        publisher_id, tracking_id, store_id, country, device,
        clicks,
        case when coalesce(visitor_id, buyer_without_visitor) is null then 0 else 1 end
            as visitors,
        0 as orders,
        0 as order_lines,
        cast(0 as decimal(38, 2)) as order_amount
    from visitors
    union all
    select
        publisher_id, tracking_id, store_id, country, device,
        0 as clicks,
        0 as visitors,
        1 as orders,
        order_lines,
        order_amount
    from report.earned_orders
    where order_date = $date
)

select
    $date as report_date,
    publisher_id,
    tracking_id,
    store_id,
    country,
    device,
    sum(clicks) as clicks,
    sum(visitors) as visitors,
    sum(orders) as orders,
    sum(order_lines) as order_lines,
    sum(order_amount) as order_amount
from counts
group by publisher_id, tracking_id, store_id, country, device
order by report_date, publisher_id, tracking_id, store_id, country, device
