-- What happened to order lines, per day, store and publisher.
--
-- grain:  one row per day, store and publisher with an effective event
-- key:    report_date, store_id, publisher_id
-- kind:   stored
-- version: 2
-- reads:  attribution.movements, attribution.ledger_lines
-- params: $from, $to
-- columns:
--   report_date           date   local date of the events
--   store_id              text   the store that sold the lines
--   publisher_id          text   the credited publisher, or (unattributed)
--   placed_orders         count  distinct orders with a line placed
--   placed_lines          count  order lines placed
--   placed_amount         money  net amount of the lines placed
--   paid_orders           count  distinct orders with a line paid
--   paid_lines            count  order lines paid
--   paid_amount           money  net amount of these lines when paid
--   estimated_commission  money  commission that payment forecasts
--   completed_orders      count  distinct orders with a line completed
--   completed_lines       count  order lines completed
--   completed_amount      money  net amount of these lines when completed
--   actual_commission     money  commission that completions booked; later refunds are not in it
--   cancelled_orders      count  distinct orders with a line cancelled
--   cancelled_lines       count  order lines cancelled
--   cancelled_amount      money  net amount of these lines when cancelled
with movements as (
    select report_date, line_key, movement, net_after, pending_commission, approved_commission
    from attribution.movements
    where is_effective
        and movement <> 'refunded'
        and event_at >= $from
        and event_at < $to
),

lines as (
    select
        line_key,
        order_id,
        store_id,
        case when status = 'attributed' then publisher_id else '(unattributed)' end
            as publisher_id
    from attribution.ledger_lines
),

-- One row per order, so that each order is counted once below.
orders as (
    select
        report_date,
        store_id,
        publisher_id,
        movement,
        order_id,
        count(*) as lines,
        sum(net_after) as amount,
        sum(pending_commission) as pending_commission,
        sum(approved_commission) as approved_commission
    from movements
    left join lines
        on movements.line_key = lines.line_key
    group by report_date, store_id, publisher_id, movement, order_id
)

select
    report_date,
    store_id,
    publisher_id,
    count(*) filter (where movement = 'placed') as placed_orders,
    coalesce(sum(lines) filter (where movement = 'placed'), 0) as placed_lines,
    coalesce(sum(amount) filter (where movement = 'placed'), 0) as placed_amount,
    count(*) filter (where movement = 'paid') as paid_orders,
    coalesce(sum(lines) filter (where movement = 'paid'), 0) as paid_lines,
    coalesce(sum(amount) filter (where movement = 'paid'), 0) as paid_amount,
    coalesce(sum(pending_commission) filter (where movement = 'paid'), 0)
        as estimated_commission,
    count(*) filter (where movement = 'completed') as completed_orders,
    coalesce(sum(lines) filter (where movement = 'completed'), 0) as completed_lines,
    coalesce(sum(amount) filter (where movement = 'completed'), 0) as completed_amount,
    coalesce(sum(approved_commission) filter (where movement = 'completed'), 0)
        as actual_commission,
    count(*) filter (where movement = 'cancelled') as cancelled_orders,
    coalesce(sum(lines) filter (where movement = 'cancelled'), 0) as cancelled_lines,
    coalesce(sum(amount) filter (where movement = 'cancelled'), 0) as cancelled_amount
from orders
group by report_date, store_id, publisher_id
order by report_date, store_id, publisher_id
