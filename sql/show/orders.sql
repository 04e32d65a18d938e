-- Orders: what happened to order lines, credited or not.
--
-- grain:  one row per key asked for, those beyond the first $top in one
-- kind:   shown
-- reads:  report.orders
-- params: $from, $to, $by_day, $by_publisher, $by_store, $top
-- charts: placed_amount, completed_amount
-- columns:
--   place             count  rank by placed amount; the last is all others together
--   day               date   report date (D1)
--   publisher         text   who is credited, or (unattributed)
--   store             text   the store that sold
--   placed_amount     money  placed: net amount of the lines placed (C6)
--   placed_lines      count  lines placed: order lines placed (A5)
--   paid_amount       money  paid: net amount of the lines paid (M1, M2)
--   paid_lines        count  lines paid: order lines paid (M2)
--   completed_amount  money  completed: net amount of the lines completed (M1, M3)
--   completed_lines   count  lines completed: order lines completed (M3)
--   cancelled_amount  money  cancelled: net amount of the lines cancelled (M1, M4)
--   cancelled_lines   count  lines cancelled: order lines cancelled (M4)
--   approval_rate     ratio  approval rate: completed per completed or cancelled line (M3, M4)
--   keys              count  how many keys the row adds up
with rows_asked_for as (
    select *
    from report.orders
    where report_date between $from and $to
),

figures as (
    select
        case when $by_day then report_date end as day,
        case when $by_publisher then publisher_id end as publisher,
        case when $by_store then store_id end as store,
        sum(placed_amount) as placed_amount,
        sum(placed_lines) as placed_lines,
        sum(paid_amount) as paid_amount,
        sum(paid_lines) as paid_lines,
        sum(completed_amount) as completed_amount,
        sum(completed_lines) as completed_lines,
        sum(cancelled_amount) as cancelled_amount,
        sum(cancelled_lines) as cancelled_lines
    from rows_asked_for
    group by 1, 2, 3
),

ranked as (
    select
        *,
        cast(
            row_number() over (
                order by placed_amount desc, day, publisher, store
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
        placed_amount,
        placed_lines,
        paid_amount,
        paid_lines,
        completed_amount,
        completed_lines,
        cancelled_amount,
        cancelled_lines
    from ranked
)

select
    place,
    day,
    publisher,
    store,
    cast(sum(placed_amount) as decimal(18, 2)) as placed_amount,
    cast(sum(placed_lines) as bigint) as placed_lines,
    cast(sum(paid_amount) as decimal(18, 2)) as paid_amount,
    cast(sum(paid_lines) as bigint) as paid_lines,
    cast(sum(completed_amount) as decimal(18, 2)) as completed_amount,
    cast(sum(completed_lines) as bigint) as completed_lines,
    cast(sum(cancelled_amount) as decimal(18, 2)) as cancelled_amount,
    cast(sum(cancelled_lines) as bigint) as cancelled_lines,
    cast(
        cast(sum(completed_lines) as decimal(24, 6))
        / nullif(sum(completed_lines + cancelled_lines), 0)
        as decimal(24, 6)
    ) as approval_rate,
    count(*) as keys
from cut
group by place, day, publisher, store
order by day, place
