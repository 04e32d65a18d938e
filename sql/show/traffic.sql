-- Traffic: clicks, and the orders that they earned.
--
-- grain:  one row per key asked for, those beyond the first $top in one
-- kind:   shown
-- reads:  report.traffic
-- params: $from, $to, $by_day, $by_publisher, $by_tracking, $by_store, $by_country,
--         $by_device, $top
-- charts: clicks, orders, order_amount
-- columns:
--   place            count  rank by clicks; the last is all others together
--   day              date   report date (D1)
--   publisher        text   whose link it was
--   tracking         text   the publisher's own label for the link
--   store            text   store of the page landed on
--   country          text   of the click
--   device           text   of the click
--   clicks           count  clicks: visits through promotion links, each once (C1, C3)
--   visitors         count  visitors: distinct per day and key, added up (C1)
--   orders           count  orders: earned by clicks, on the day placed (A2, A5)
--   conversion_rate  ratio  conversion rate: orders per click (A2)
--   order_lines      count  lines: order lines of these orders (A2)
--   order_amount     money  order amount: of lines that clicks earned, before refunds (A2, C6)
--   aov              ratio  AOV: average order value, order amount per order (C6)
--   keys             count  how many keys the row adds up
with rows_asked_for as (
    select *
    from report.traffic
    where report_date between $from and $to
),

figures as (
    select
        case when $by_day then report_date end as day,
        case when $by_publisher then publisher_id end as publisher,
        case when $by_tracking then tracking_id end as tracking,
        case when $by_store then store_id end as store,
        case when $by_country then country end as country,
        case when $by_device then device end as device,
        sum(clicks) as clicks,
        sum(visitors) as visitors,
        sum(orders) as orders,
        sum(order_lines) as order_lines,
        sum(order_amount) as order_amount
    from rows_asked_for
    group by 1, 2, 3, 4, 5, 6
),

ranked as (
    select
        *,
        cast(
            row_number() over (
                order by clicks desc, day, publisher, tracking, store, country, device
            ) as bigint
        ) as place
    from figures
),

cut as (
    select
        case when place <= $top then place else $top + 1 end as place,
        case when place <= $top then day end as day,
        case when place <= $top then publisher end as publisher,
        case when place <= $top then tracking end as tracking,
        case when place <= $top then store end as store,
        case when place <= $top then country end as country,
        case when place <= $top then device end as device,
        clicks,
        visitors,
        orders,
        order_lines,
        order_amount
    from ranked
)

select
    place,
    day,
    publisher,
    tracking,
    store,
    country,
    device,
    cast(sum(clicks) as bigint) as clicks,
    cast(sum(visitors) as bigint) as visitors,
    cast(sum(orders) as bigint) as orders,
    cast(
        cast(sum(orders) as decimal(24, 6)) / nullif(sum(clicks), 0) as decimal(24, 6)
    ) as conversion_rate,
    cast(sum(order_lines) as bigint) as order_lines,
    cast(sum(order_amount) as decimal(18, 2)) as order_amount,
    cast(
        cast(sum(order_amount) as decimal(24, 6)) / nullif(sum(orders), 0) as decimal(24, 6)
    ) as aov,
    count(*) as keys
from cut
group by place, day, publisher, tracking, store, country, device
order by day, place
