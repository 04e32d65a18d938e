-- Transactions: the ledger of the lines that are credited to a publisher.
--
-- grain:  one row per key asked for, those beyond the first $top in one
-- kind:   shown
-- reads:  report.transaction_details
-- params: $from, $to, $by_day, $by_publisher, $by_tracking, $by_store, $by_country,
--         $by_movement, $top
-- charts: approved_commission, pending_commission, sale_amount
-- columns:
--   place                count  rank by approved commission; the last is all others together
--   day                  date   report date (D1)
--   publisher            text   who is credited
--   tracking             text   the publisher's own label for the link
--   store                text   the store that sold
--   country              text   of the order
--   movement             text   placed, paid, completed, cancelled or refunded
--   approved_commission  money  owed: approved commission, refunds in it (M3, M5, M6)
--   pending_commission   money  pending change: of the commission forecast (M2, M6)
--   sale_amount          money  sales: change of the net amounts (M1)
--   movements            count  movements: events of these lines (M6)
--   keys                 count  how many keys the row adds up
with rows_asked_for as (
    select *, 1 as movements
    from report.transaction_details
    where report_date between $from and $to
),

figures as (
    select
        case when $by_day then report_date end as day,
        case when $by_publisher then publisher_id end as publisher,
        case when $by_tracking then coalesce(tracking_id, '(none)') end as tracking,
        case when $by_store then store_id end as store,
        case when $by_country then coalesce(country, '(none)') end as country,
        case when $by_movement then movement end as movement,
        sum(approved_commission) as approved_commission,
        sum(pending_commission) as pending_commission,
        sum(sale_amount) as sale_amount,
        sum(movements) as movements
    from rows_asked_for
    group by 1, 2, 3, 4, 5, 6
),

ranked as (
    select
        *,
        cast(
            row_number() over (
                order by approved_commission desc,
                    day, publisher, tracking, store, country, movement
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
        case when place <= $top then movement end as movement,
        approved_commission,
        pending_commission,
        sale_amount,
        movements
    from ranked
)

select
    place,
    day,
    publisher,
    tracking,
    store,
    country,
    movement,
    cast(sum(approved_commission) as decimal(18, 2)) as approved_commission,
    cast(sum(pending_commission) as decimal(18, 2)) as pending_commission,
    cast(sum(sale_amount) as decimal(18, 2)) as sale_amount,
    cast(sum(movements) as bigint) as movements,
    count(*) as keys
from cut
group by place, day, publisher, tracking, store, country, movement
order by day, place
