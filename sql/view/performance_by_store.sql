-- What each store got and pays, per day, with the usual ratios.
--
-- grain:  one row per day and store with a click or an event
-- key:    report_date, store_id
-- kind:   view
-- reads:  view.performance
-- columns:
--   report_date           date   local date of the clicks and events
--   store_id              text   the store that sold; for clicks: landed on; or (none)
--   clicks                count  visits through promotion links
--   orders                count  orders that such visits earned, on the day placed
--   order_lines           count  order lines of these orders
--   order_amount          money  amount of these lines, before refunds
--   placed_lines          count  order lines placed, earned or not
--   placed_amount         money  amount of these lines, before refunds
--   paid_lines            count  order lines paid
--   estimated_commission  money  pending commission that payments booked
--   completed_lines       count  order lines completed
--   actual_commission     money  booked by completions, before refunds: not owed
--   cancelled_lines       count  order lines cancelled
--   refunds               count  refund events
--   refund_amount         money  by how much refunds let the net amounts fall
--   pending_reversed      money  pending commission that refunds took back
--   approved_reversed     money  approved commission that refunds took back
--   pending_commission    money  change of the pending commission
--   approved_commission   money  owed: change of the approved commission, refunds in it
--   epc                   ratio  earnings (approved commission) per click; never to be averaged
--   conversion_rate       ratio  orders per click; never to be averaged
--   aov                   ratio  average order: amount per order; never to be averaged
--   approval_rate         ratio  completed per completed or cancelled line; never to be averaged
--   refund_rate           ratio  amount given back per amount placed; never to be averaged
--
-- The ratios are those of `view.performance`. To have them over several rows, such as a month, take
-- them anew from the sums. Clicks and approvals of a day are not of the same orders: an order is
-- approved days after its click.
select
    report_date,
    store_id,
    cast(sum(performance.clicks) as bigint) as clicks,
    cast(sum(performance.orders) as bigint) as orders,
    cast(sum(performance.order_lines) as bigint) as order_lines,
    cast(sum(performance.order_amount) as decimal(18, 2)) as order_amount,
    cast(sum(performance.placed_lines) as bigint) as placed_lines,
    cast(sum(performance.placed_amount) as decimal(18, 2)) as placed_amount,
    cast(sum(performance.paid_lines) as bigint) as paid_lines,
    cast(sum(performance.estimated_commission) as decimal(18, 2)) as estimated_commission,
    cast(sum(performance.completed_lines) as bigint) as completed_lines,
    cast(sum(performance.actual_commission) as decimal(18, 2)) as actual_commission,
    cast(sum(performance.cancelled_lines) as bigint) as cancelled_lines,
    cast(sum(performance.refunds) as bigint) as refunds,
    cast(sum(performance.refund_amount) as decimal(18, 2)) as refund_amount,
    cast(sum(performance.pending_reversed) as decimal(18, 2)) as pending_reversed,
    cast(sum(performance.approved_reversed) as decimal(18, 2)) as approved_reversed,
    cast(sum(performance.pending_commission) as decimal(18, 2)) as pending_commission,
    cast(sum(performance.approved_commission) as decimal(18, 2)) as approved_commission,
    cast(
        cast(sum(performance.approved_commission) as decimal(24, 6))
        / nullif(sum(performance.clicks), 0)
        as decimal(24, 6)
    ) as epc,
    cast(
        cast(sum(performance.orders) as decimal(24, 6))
        / nullif(sum(performance.clicks), 0)
        as decimal(24, 6)
    ) as conversion_rate,
    cast(
        cast(sum(performance.order_amount) as decimal(24, 6))
        / nullif(sum(performance.orders), 0)
        as decimal(24, 6)
    ) as aov,
    cast(
        cast(sum(performance.completed_lines) as decimal(24, 6))
        / nullif(sum(performance.completed_lines + performance.cancelled_lines), 0)
        as decimal(24, 6)
    ) as approval_rate,
    cast(
        cast(sum(performance.refund_amount) as decimal(24, 6))
        / nullif(sum(performance.placed_amount), 0)
        as decimal(24, 6)
    ) as refund_rate
from view.performance
group by report_date, store_id
