-- Performance: what clicks, orders and refunds of these dates add up to.
--
-- grain:  one row per key asked for, those beyond the first $top in one
-- kind:   shown
-- reads:  view.performance
-- params: $from, $to, $by_day, $by_publisher, $by_store, $by_country, $top
-- charts: approved_commission, clicks, orders, order_amount
-- columns:
--   place                count  rank by approved commission; the last is all others together
--   day                  date   report date (D1)
--   publisher            text   who is credited, or (unattributed)
--   store                text   the store that sold; for clicks: landed on
--   country              text   of the order; for clicks: of the click
--   approved_commission  money  owed: approved commission, refunds in it (M3, M5, M6)
--   pending_commission   money  pending change: of the commission forecast (M2, M6)
--   clicks               count  clicks: visits through promotion links, each once (C1, C3)
--   orders               count  orders: earned by clicks, on the day placed (A2, A5)
--   conversion_rate      ratio  conversion rate: orders per click (A2)
--   order_amount         money  order amount: of lines that clicks earned, before refunds (A2, C6)
--   aov                  ratio  AOV: average order value, order amount per order (C6)
--   epc                  ratio  EPC: earnings per click, owed per click (M3, M6)
--   approval_rate        ratio  approval rate: completed per completed or cancelled line (M3, M4)
--   refund_rate          ratio  refund rate: amount given back per amount placed (M1, M5)
--   keys                 count  how many keys the row adds up
--
-- The ratios are those of `view.performance`, taken anew over the rows that a line adds up.
with rows_asked_for as (
    select *
    from view.performance
    where report_date between $from and $to
),

figures as (
    select
        case when $by_day then report_date end as day,
        case when $by_publisher then publisher_id end as publisher,
        case when $by_store then store_id end as store,
        case when $by_country then country end as country,
        sum(approved_commission) as approved_commission,
        sum(pending_commission) as pending_commission,
        sum(clicks) as clicks,
        sum(orders) as orders,
        sum(order_amount) as order_amount,
        sum(completed_lines) as completed_lines,
        sum(cancelled_lines) as cancelled_lines,
        sum(refund_amount) as refund_amount,
        sum(placed_amount) as placed_amount
    from rows_asked_for
    group by 1, 2, 3, 4
),

ranked as (
    select
        *,
        cast(
            row_number() over (
                order by approved_commission desc, day, publisher, store, country
            ) as bigint
        ) as place
    from figures
),

cut as (
    select
        case when place <= $top then place else $top + 1 end as place,
        case when place <= $top then day end as day,
        case when place <= $top then publisher end as publisher,
        case when place <= $top then store end as store,
        case when place <= $top then country end as country,
        approved_commission,
        pending_commission,
        clicks,
        orders,
        order_amount,
        completed_lines,
        cancelled_lines,
        refund_amount,
        placed_amount
    from ranked
)

select
    place,
    day,
    publisher,
    store,
    country,
    cast(sum(approved_commission) as decimal(18, 2)) as approved_commission,
    cast(sum(pending_commission) as decimal(18, 2)) as pending_commission,
    cast(sum(clicks) as bigint) as clicks,
    cast(sum(orders) as bigint) as orders,
    cast(
        cast(sum(orders) as decimal(24, 6)) / nullif(sum(clicks), 0) as decimal(24, 6)
    ) as conversion_rate,
    cast(sum(order_amount) as decimal(18, 2)) as order_amount,
    cast(
        cast(sum(order_amount) as decimal(24, 6)) / nullif(sum(orders), 0) as decimal(24, 6)
    ) as aov,
    cast(
        cast(sum(approved_commission) as decimal(24, 6)) / nullif(sum(clicks), 0) as decimal(24, 6)
    ) as epc,
    cast(
        cast(sum(completed_lines) as decimal(24, 6))
        / nullif(sum(completed_lines + cancelled_lines), 0)
        as decimal(24, 6)
    ) as approval_rate,
    cast(
        cast(sum(refund_amount) as decimal(24, 6)) / nullif(sum(placed_amount), 0) as decimal(24, 6)
    ) as refund_rate,
    count(*) as keys
from cut
group by place, day, publisher, store, country
order by day, place
