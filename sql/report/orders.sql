-- Order lines by what happened to them, per day, store and publisher.
--
-- grain:  one row per day, store and publisher with an effective event
-- key:    report_date, store_id, publisher_id
-- kept:   as report/orders
-- reads:  attribution.movements, attribution.moving_lines
-- params: $from, $to
-- columns:
--   report_date           date   local date of the events
--   store_id              text   where it was ordered
--   publisher_id          text   who is credited, or (unattributed)
--   placed_orders         count  distinct orders
--   placed_lines          count  order lines
--   placed_amount         money  their net amount
--   paid_orders           count  distinct orders
--   paid_lines            count  order lines
--   paid_amount           money  their net amount when paid
--   estimated_commission  money  what payment forecast
--   completed_orders      count  distinct orders
--   completed_lines       count  order lines
--   completed_amount      money  their net amount when completed
--   actual_commission     money  what completion made owed
--   cancelled_orders      count  distinct orders
--   cancelled_lines       count  order lines
--   cancelled_amount      money  their net amount when cancelled
with movements as (
    select report_date, line, movement, net_after, pending_commission, approved_commission
    from attribution.movements
    where is_effective
        and movement <> 'refunded'
        and event_at >= $from
        and event_at < $to
),

lines as (
    select
        line,
        order_id,
        store_id,
        case when status = 'attributed' then publisher_id else '(unattributed)' end
            as publisher_id
    from attribution.moving_lines
),

-- One row per order, so that orders are counted once each below.
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
        on movements.line = lines.line
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
