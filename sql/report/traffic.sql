-- Visits per day and where they came from, with the orders of the day that such visits earned.
--
-- grain:  one row per link, page and kind of visitor on the day
-- key:    report_date, publisher_id, tracking_id, store_id, country, device
-- kept:   as report/traffic
-- reads:  report.visits, attribution.credits
-- params: $date
-- columns:
--   report_date   date   local date of the visits, and of the orders
--   publisher_id  text   whose link it was
--   tracking_id   text   the publisher's own label, or (none)
--   store_id      text   store of the page landed on, or (none)
--   country       text   the click's country, or (none)
--   device        text   the click's device, or (none)
--   clicks        count  visits on the day
--   visitors      count  distinct visitors, and buyers among visits without a visitor
--   orders        count  distinct orders placed on the day
--   order_lines   count  order lines placed on the day
--   order_amount  money  their amount
--
-- An order counts on the day it was placed, under the dimensions of the click that won it,
-- which may have happened weeks before: such rows have no clicks of their own.
with visits as (
    select
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor
    from report.visits
    where report_date = $date
),

orders as (
    select
        publisher_id,
        coalesce(tracking_id, '(none)') as tracking_id,
        coalesce(click_store_id, '(none)') as store_id,
        coalesce(click_country, '(none)') as country,
        coalesce(click_device, '(none)') as device,
        order_id,
        amount
    from attribution.credits
    where status = 'attributed' and order_date = $date
),

-- One row per visitor or, among visits without one, per buyer: counted below, each is distinct.
visitors as (
    select
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor,
        count(*) as clicks
    from visits
    group by
        publisher_id, tracking_id, store_id, country, device, visitor_id,
        buyer_without_visitor
),

visit_counts as (
    select
        publisher_id, tracking_id, store_id, country, device,
        sum(clicks) as clicks,
        count(visitor_id) + count(buyer_without_visitor) as visitors,
        0 as orders,
        0 as order_lines,
        cast(0 as decimal(38, 2)) as order_amount
    from visitors
    group by publisher_id, tracking_id, store_id, country, device
),

distinct_orders as (
    select
        publisher_id, tracking_id, store_id, country, device, order_id,
        count(*) as order_lines,
        sum(amount) as order_amount
    from orders
    group by publisher_id, tracking_id, store_id, country, device, order_id
),

order_counts as (
    select
        publisher_id, tracking_id, store_id, country, device,
        0 as clicks,
        0 as visitors,
        count(*) as orders,
        sum(order_lines) as order_lines,
        cast(sum(order_amount) as decimal(38, 2)) as order_amount
    from distinct_orders
    group by publisher_id, tracking_id, store_id, country, device
),

both_counts as (
    select * from visit_counts
    union all
    select * from order_counts
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
from both_counts
group by publisher_id, tracking_id, store_id, country, device
order by report_date, publisher_id, tracking_id, store_id, country, device
