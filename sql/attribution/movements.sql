-- What each event did to its line's commission: the ledger of all lines, attributed or not.
--
-- grain:  one row per event of a line that counts, in the dates to make
-- key:    report_date, event_id
-- kept:   for the run
-- reads:  attribution.conversions, clean.order_events
-- params: $from, $to, $horizon, $zone
--
-- An event belongs to the placed event of its line at or before it, unless that is longer
-- ago than the horizon. A movement is a change of a balance: the balances before and after
-- each event are worked out, and the difference is booked. A cast to fewer decimals rounds
-- half away from zero.
with conversions as (
    select *
    from attribution.conversions
    where placed_at >= $from - $horizon
        and placed_at < $to
),

events as (
    select
        event_id, event_type, event_at, order_id, line_id, original_amount, original_currency,
        fx_rate, reason
    from clean.order_events
    where event_at >= $from - $horizon
        and event_at < $to
),

-- Lines with something to book. What happened to them before decides what it is.
moving as (
    select distinct order_id, line_id
    from events
    where event_at >= $from
),

-- A conversion may have been kept while its placed event is not there (any more), as with
-- logs read as of an earlier date: then its events are orphans (M7).
lines as (
    select
        conversions.*,
        placed.original_amount as line_original,
        placed.original_currency as line_currency,
        placed.fx_rate as line_fx_rate
    from conversions
    inner join moving
        on conversions.order_id = moving.order_id
        and conversions.line_id = moving.line_id
    inner join events as placed
        on conversions.order_id = placed.order_id
        and conversions.line_id = placed.line_id
        and conversions.event_id = placed.event_id
        and conversions.placed_at = placed.event_at
        and placed.event_type = 'placed'
),

line_events as (
    select
        events.event_id,
        events.event_type as movement,
        events.event_at,
        events.original_amount,
        events.reason,
        lines.order_id,
        lines.line_id,
        lines.buyer_id,
        lines.store_id,
        lines.product_id,
        lines.category_id,
        lines.country,
        lines.status,
        lines.publisher_id,
        lines.tracking_id,
        lines.click_id,
        lines.clicked_at,
        lines.placed_at,
        lines.seconds_to_order,
        lines.commission_rate,
        lines.rate_source,
        case events.event_type
            when 'placed' then 1
            when 'paid' then 2
            when 'completed' then 3
            when 'cancelled' then 4
            else 5
        end as turn,
        lines.line_original,
        lines.line_currency,
        lines.line_fx_rate
    from lines
    inner join events
        on lines.order_id = events.order_id
        and lines.line_id = events.line_id
        and events.event_at >= lines.placed_at
        and events.event_at <= lines.placed_at + $horizon
    where events.event_type <> 'placed'
        or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
),

counted as (
    select
        line_events.*,
        sum(case when movement = 'refunded' then original_amount else 0 end) over line
            as refunds_asked,
        count(case when movement = 'paid' then 1 end) over line as paid_so_far,
        count(case when movement = 'completed' then 1 end) over line as completed_so_far,
        count(case when movement = 'cancelled' then 1 end) over line as cancelled_so_far
    from line_events
    window line as (
        partition by order_id, line_id, placed_at
        order by event_at, turn, event_id
        rows between unbounded preceding and current row
    )
),

-- The first of its kind has an effect, unless the line was over before (M2 to M4).
judged as (
    select
        counted.*,
        greatest(line_original - refunds_asked, 0) as left_after,
        greatest(
            line_original - refunds_asked
                + case when movement = 'refunded' then original_amount else 0 end,
            0
        ) as left_before,
        movement = 'paid'
            and paid_so_far = 1 and completed_so_far = 0 and cancelled_so_far = 0
            as is_booking,
        movement = 'completed' and completed_so_far = 1 and cancelled_so_far = 0
            as is_completion,
        movement = 'cancelled' and cancelled_so_far = 1 and completed_so_far = 0
            as is_cancellation
    from counted
),

valued as (
    select
        judged.*,
        cast(left_after * line_fx_rate as decimal(18, 2)) as net_after,
        cast(left_before * line_fx_rate as decimal(18, 2)) as net_before,
        max(is_booking) over line as is_booked,
        max(is_completion) over line as is_completed,
        max(is_cancellation) over line as is_cancelled
    from judged
    window line as (
        partition by order_id, line_id, placed_at
        order by event_at, turn, event_id
        rows between unbounded preceding and current row
    )
),

balanced as (
    select
        valued.*,
        case
            when is_booked and not is_completed and not is_cancelled
            then cast(net_after * coalesce(commission_rate, 0) as decimal(18, 2))
            else 0
        end as pending_after,
        case
            when is_completed
            then cast(net_after * coalesce(commission_rate, 0) as decimal(18, 2))
            else 0
        end as approved_after
    from valued
),

changed as (
    select
        balanced.*,
        pending_after - coalesce(lag(pending_after) over line, 0) as pending_commission,
        approved_after - coalesce(lag(approved_after) over line, 0) as approved_commission
    from balanced
    window line as (
        partition by order_id, line_id, placed_at
        order by event_at, turn, event_id
    )
)

select
    cast(event_at at time zone $zone as date) as report_date,
    event_id,
    movement,
    event_at,
    movement = 'placed'
        or is_booking
        or is_completion
        or is_cancellation
        or (movement = 'refunded' and left_before > left_after) as is_effective,
    order_id,
    line_id,
    buyer_id,
    store_id,
    product_id,
    category_id,
    country,
    status,
    publisher_id,
    tracking_id,
    click_id,
    clicked_at,
    placed_at,
    seconds_to_order,
    commission_rate,
    rate_source,
    case when movement = 'placed' then net_after else net_after - net_before end as sale_amount,
    net_after,
    movement = 'refunded' and left_before > left_after and left_after = 0 as is_full_refund,
    pending_commission,
    approved_commission,
    original_amount,
    case when movement in ('placed', 'refunded') then line_currency end as original_currency,
    reason
from changed
where event_at >= $from
