-- Refunds: what was given back, and the commission with it.
--
-- grain:  one row per key asked for, those beyond the first $top in one
-- kind:   shown
-- reads:  report.orders, report.refunds
-- params: $from, $to, $by_day, $by_store, $by_publisher, $top
-- charts: refund_amount, approved_reversed
-- columns:
--   place              count  rank by refund amount; the last is all others together
--   day                date   report date (D1)
--   store              text   the store that sold
--   publisher          text   who is credited, or (unattributed)
--   refund_amount      money  refunded: how much the net amounts fell (M1)
--   refunds            count  refunds: refund events (M5)
--   refunded_lines     count  lines: with a refund, distinct per day and key (M5)
--   full_refunds       count  full: refunds of the last of a line (M1)
--   refund_rate        ratio  refund rate: amount given back per amount placed (M1, M5)
--   pending_reversed   money  pending reversed: pending commission taken back (M5)
--   approved_reversed  money  approved reversed: owed commission taken back (M5)
--   keys               count  how many keys the row adds up
with rows_asked_for as (
    select
        report_date, store_id, publisher_id, refunds, refunded_lines, refund_amount, full_refunds,
        pending_reversed, approved_reversed, 0 as placed_amount
    from report.refunds
    where report_date between $from and $to
    union all
    select
        report_date, store_id, publisher_id, 0, 0, 0, 0, 0, 0, placed_amount
    from report.orders
    where report_date between $from and $to
),

figures as (
    select
        case when $by_day then report_date end as day,
        case when $by_store then store_id end as store,
        case when $by_publisher then publisher_id end as publisher,
        sum(refund_amount) as refund_amount,
        sum(refunds) as refunds,
        sum(refunded_lines) as refunded_lines,
        sum(full_refunds) as full_refunds,
        sum(pending_reversed) as pending_reversed,
        sum(approved_reversed) as approved_reversed,
        sum(placed_amount) as placed_amount
    from rows_asked_for
    group by 1, 2, 3
),

ranked as (
    select
        *,
        cast(
            row_number() over (
                order by refund_amount desc, day, store, publisher
            ) as bigint
        ) as place
    from figures
),

cut as (
    select
        case when place <= $top then place else $top + 1 end as place,
        case when place <= $top then day end as day,
        case when place <= $top then store end as store,
        case when place <= $top then publisher end as publisher,
        refund_amount,
        refunds,
        refunded_lines,
        full_refunds,
        pending_reversed,
        approved_reversed,
        placed_amount
    from ranked
)

select
    place,
    day,
    store,
    publisher,
    cast(sum(refund_amount) as decimal(18, 2)) as refund_amount,
    cast(sum(refunds) as bigint) as refunds,
    cast(sum(refunded_lines) as bigint) as refunded_lines,
    cast(sum(full_refunds) as bigint) as full_refunds,
    cast(
        cast(sum(refund_amount) as decimal(24, 6)) / nullif(sum(placed_amount), 0) as decimal(24, 6)
    ) as refund_rate,
    cast(sum(pending_reversed) as decimal(18, 2)) as pending_reversed,
    cast(sum(approved_reversed) as decimal(18, 2)) as approved_reversed,
    count(*) as keys
from cut
group by place, day, store, publisher
order by day, place
