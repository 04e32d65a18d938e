-- What everything added up to, per day, publisher, store and country: the basis of all figures.
--
-- grain:  one row per day, publisher, store and country with a click or an event
-- key:    report_date, publisher_id, store_id, country
-- kind:   view
-- reads:  report.traffic, report.transaction_details, report.orders, report.refunds
-- columns:
--   report_date           date   local date of the clicks and events
--   publisher_id          text   the publisher, or (unattributed)
--   store_id              text   the store that sold; for clicks: landed on; or (none)
--   country               text   the country, (none), or (any) where (unattributed)
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
-- ratios:
--   epc             = approved_commission / clicks
--   conversion_rate = orders / clicks
--   aov             = order_amount / orders
--   approval_rate   = completed_lines / (completed_lines + cancelled_lines)
--   refund_rate     = refund_amount / placed_amount
--
-- All columns but the first four can be added up over any rows. A ratio cannot: it is the ratio of
-- two sums over the rows in question, never a sum or an average of ratios. It is spelled
-- `cast(cast(sum(a) as decimal(24, 6)) / nullif(sum(b), 0) as decimal(24, 6))` wherever it stands,
-- so that every engine keeps six decimals, and is null where there is nothing to divide by.
--
-- Traffic has store and country of the click, the rest those of the order line. An order is counted
-- once under each key that earned a line of it, so orders add up to a little more than distinct
-- ones where the lines of one order have several keys.
--
-- Lines that are credited to nobody come from `report.orders` and `report.refunds`, which have no
-- country.
with figures as (
    select
        report_date, publisher_id, store_id, country,
        clicks,
        orders,
        order_lines,
        order_amount,
        0 as placed_lines,
        cast(0 as decimal(18, 2)) as placed_amount,
        0 as paid_lines,
        cast(0 as decimal(18, 2)) as estimated_commission,
        0 as completed_lines,
        cast(0 as decimal(18, 2)) as actual_commission,
        0 as cancelled_lines,
        0 as refunds,
        cast(0 as decimal(18, 2)) as refund_amount,
        cast(0 as decimal(18, 2)) as pending_reversed,
        cast(0 as decimal(18, 2)) as approved_reversed,
        cast(0 as decimal(18, 2)) as pending_commission,
        cast(0 as decimal(18, 2)) as approved_commission
    from report.traffic
    union all
    select
        report_date, publisher_id, store_id, coalesce(country, '(none)') as country,
        0 as clicks,
        0 as orders,
        0 as order_lines,
        cast(0 as decimal(18, 2)) as order_amount,
        case when is_effective and movement = 'placed' then 1 else 0 end as placed_lines,
        case when movement = 'placed' then sale_amount else 0 end as placed_amount,
        case when is_effective and movement = 'paid' then 1 else 0 end as paid_lines,
        case when movement = 'paid' then pending_commission else 0 end as estimated_commission,
        case when is_effective and movement = 'completed' then 1 else 0 end as completed_lines,
        case when movement = 'completed' then approved_commission else 0 end as actual_commission,
        case when is_effective and movement = 'cancelled' then 1 else 0 end as cancelled_lines,
        case when is_effective and movement = 'refunded' then 1 else 0 end as refunds,
        case when movement = 'refunded' then -sale_amount else 0 end as refund_amount,
        case when movement = 'refunded' then -pending_commission else 0 end as pending_reversed,
        case when movement = 'refunded' then -approved_commission else 0 end as approved_reversed,
        pending_commission,
        approved_commission
    from report.transaction_details
    union all
    select
        report_date, publisher_id, store_id, '(any)' as country,
        0 as clicks,
        0 as orders,
        0 as order_lines,
        cast(0 as decimal(18, 2)) as order_amount,
        placed_lines,
        placed_amount,
        paid_lines,
        estimated_commission,
        completed_lines,
        actual_commission,
        cancelled_lines,
        0 as refunds,
        cast(0 as decimal(18, 2)) as refund_amount,
        cast(0 as decimal(18, 2)) as pending_reversed,
        cast(0 as decimal(18, 2)) as approved_reversed,
        cast(0 as decimal(18, 2)) as pending_commission,
        cast(0 as decimal(18, 2)) as approved_commission
    from report.orders
    where publisher_id = '(unattributed)'
    union all
    select
        report_date, publisher_id, store_id, '(any)' as country,
        0 as clicks,
        0 as orders,
        0 as order_lines,
        cast(0 as decimal(18, 2)) as order_amount,
        0 as placed_lines,
        cast(0 as decimal(18, 2)) as placed_amount,
        0 as paid_lines,
        cast(0 as decimal(18, 2)) as estimated_commission,
        0 as completed_lines,
        cast(0 as decimal(18, 2)) as actual_commission,
        0 as cancelled_lines,
        refunds,
        refund_amount,
        pending_reversed,
        approved_reversed,
        cast(0 as decimal(18, 2)) as pending_commission,
        cast(0 as decimal(18, 2)) as approved_commission
    from report.refunds
    where publisher_id = '(unattributed)'
)

select
    report_date,
    publisher_id,
    store_id,
    country,
    cast(sum(clicks) as bigint) as clicks,
    cast(sum(orders) as bigint) as orders,
    cast(sum(order_lines) as bigint) as order_lines,
    cast(sum(order_amount) as decimal(18, 2)) as order_amount,
    cast(sum(placed_lines) as bigint) as placed_lines,
    cast(sum(placed_amount) as decimal(18, 2)) as placed_amount,
    cast(sum(paid_lines) as bigint) as paid_lines,
    cast(sum(estimated_commission) as decimal(18, 2)) as estimated_commission,
    cast(sum(completed_lines) as bigint) as completed_lines,
    cast(sum(actual_commission) as decimal(18, 2)) as actual_commission,
    cast(sum(cancelled_lines) as bigint) as cancelled_lines,
    cast(sum(refunds) as bigint) as refunds,
    cast(sum(refund_amount) as decimal(18, 2)) as refund_amount,
    cast(sum(pending_reversed) as decimal(18, 2)) as pending_reversed,
    cast(sum(approved_reversed) as decimal(18, 2)) as approved_reversed,
    cast(sum(pending_commission) as decimal(18, 2)) as pending_commission,
    cast(sum(approved_commission) as decimal(18, 2)) as approved_commission
from figures
group by report_date, publisher_id, store_id, country
