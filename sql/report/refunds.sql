-- Refunds per day, store and publisher, and the commission that they take back.
--
-- grain:  one row per day, store and publisher with an effective refund
-- key:    report_date, store_id, publisher_id
-- kind:   stored
-- version: 2
-- reads:  attribution.movements, attribution.ledger_lines
-- params: $from, $to
-- columns:
--   report_date        date   local date of the refunds
--   store_id           text   the store that sold the lines
--   publisher_id       text   the credited publisher, or (unattributed)
--   refunded_orders    count  distinct orders with a refund
--   refunded_lines     count  distinct order lines with a refund
--   refunds            count  refund events
--   refund_amount      money  by how much the net amounts fell
--   full_refunds       count  refunds after which nothing is left of the line
--   pending_reversed   money  pending commission taken back
--   approved_reversed  money  approved commission taken back
with movements as (
    select
        report_date, line_key, is_full_refund, sale_amount, pending_commission, approved_commission
    from attribution.movements
    where is_effective
        and movement = 'refunded'
        and event_at >= $from
        and event_at < $to
),

lines as (
    select
        line_key,
        order_id,
        line_id,
        store_id,
        case when status = 'attributed' then publisher_id else '(unattributed)' end
            as publisher_id
    from attribution.ledger_lines
),

refunded_lines as (
    select
        report_date,
        store_id,
        publisher_id,
        order_id,
        line_id,
        count(*) as refunds,
        -sum(sale_amount) as refund_amount,
        count(*) filter (where is_full_refund) as full_refunds,
        -sum(pending_commission) as pending_reversed,
        -sum(approved_commission) as approved_reversed
    from movements
    left join lines
        on movements.line_key = lines.line_key
    group by report_date, store_id, publisher_id, order_id, line_id
),

-- One row per order, so that each order is counted once below.
orders as (
    select
        report_date,
        store_id,
        publisher_id,
        order_id,
        count(*) as refunded_lines,
        sum(refunds) as refunds,
        sum(refund_amount) as refund_amount,
        sum(full_refunds) as full_refunds,
        sum(pending_reversed) as pending_reversed,
        sum(approved_reversed) as approved_reversed
    from refunded_lines
    group by report_date, store_id, publisher_id, order_id
)

select
    report_date,
    store_id,
    publisher_id,
    count(*) as refunded_orders,
    sum(refunded_lines) as refunded_lines,
    sum(refunds) as refunds,
    sum(refund_amount) as refund_amount,
    sum(full_refunds) as full_refunds,
    sum(pending_reversed) as pending_reversed,
    sum(approved_reversed) as approved_reversed
from orders
group by report_date, store_id, publisher_id
order by report_date, store_id, publisher_id
