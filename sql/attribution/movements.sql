-- What each event did to its line's commission: the ledger of all lines, attributed or not.
--
-- grain:  one row per event of a line that counts, in the dates to make
-- key:    report_date, event_id
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.ledger_events, attribution.ledger_lines
-- params: $from, $zone
--
-- Events without a counting placed event move nothing (A5, M7). A movement is the change of a
-- balance: the balance after the event minus the balance before it. Facts about a whole line, such
-- as when it was completed, are computed once per line. The plain rule computes them once per
-- event. A cast to fewer decimals rounds half away from zero.
with events as (
    select
        event_key, line_key, event_id, movement, event_at, original_amount, original_currency,
        given_back, reason, event_rank
    from attribution.ledger_events
    where line_key is not null
),

lines as (
    select
        line_key,
        status,
        coalesce(commission_rate, 0) as commission_rate,
        original_amount,
        fx_rate
    from attribution.ledger_lines
),

-- When each line was first paid, completed and cancelled.
first_times as (
    select
        line_key,
        min(event_at) filter (where movement = 'paid') as paid_at,
        min(event_at) filter (where movement = 'completed') as completed_at,
        min(event_at) filter (where movement = 'cancelled') as cancelled_at
    from events
    group by line_key
),

-- Which of these had an effect: the line was not over before (M2 to M4). At the same instant paid
-- comes before completed, and completed before cancelled.
outcomes as (
    select
        line_key,
        case
            when (completed_at is null or paid_at <= completed_at)
                and (cancelled_at is null or paid_at <= cancelled_at)
            then paid_at
        end as booked_at,
        case when cancelled_at is null or completed_at <= cancelled_at then completed_at end
            as owed_at,
        case when completed_at is null or cancelled_at < completed_at then cancelled_at end
            as voided_at
    from first_times
),

-- Several events of one kind may share that instant. The smallest id decides.
deciding as (
    select
        outcomes.line_key,
        min(events.event_id) filter (where movement = 'paid' and event_at = booked_at)
            as booking_id,
        min(events.event_id) filter (where movement = 'completed' and event_at = owed_at)
            as completion_id,
        min(events.event_id) filter (where movement = 'cancelled' and event_at = voided_at)
            as cancellation_id
    from outcomes
    inner join events
        on outcomes.line_key = events.line_key
    where event_at in (booked_at, owed_at, voided_at)
    group by outcomes.line_key
),

decided as (
    select
        lines.*,
        outcomes.booked_at,
        outcomes.owed_at,
        outcomes.voided_at,
        deciding.booking_id,
        deciding.completion_id,
        deciding.cancellation_id
    from lines
    left join outcomes
        on lines.line_key = outcomes.line_key
    left join deciding
        on lines.line_key = deciding.line_key
),

refunds as (
    select line_key, event_id, event_at, given_back
    from events
    where given_back is not null
),

-- The refunds of the line, in its currency, up to each event, the event itself included.
asked_back as (
    select
        events.event_key,
        sum(refunds.given_back) as refunds_asked
    from refunds
    inner join events
        on refunds.line_key = events.line_key
    where refunds.event_at < events.event_at
        or (refunds.event_at = events.event_at
            and events.movement = 'refunded'
            and refunds.event_id <= events.event_id)
    group by events.event_key
),

judged as (
    select
        events.line_key,
        events.event_id,
        events.movement,
        events.event_at,
        events.original_amount,
        events.original_currency,
        events.given_back,
        events.reason,
        decided.status,
        decided.commission_rate,
        decided.original_amount as line_original,
        decided.fx_rate as line_fx_rate,
        coalesce(asked_back.refunds_asked, 0) as refunds_asked,
        coalesce(movement = 'paid' and event_id = booking_id and event_at = booked_at, false)
            as is_booking,
        coalesce(movement = 'completed' and event_id = completion_id and event_at = owed_at, false)
            as is_completion,
        coalesce(
            movement = 'cancelled' and event_id = cancellation_id and event_at = voided_at,
            false
        ) as is_cancellation,
        coalesce(booked_at < event_at or (booked_at = event_at and event_rank >= 2), false)
            as is_booked,
        coalesce(owed_at < event_at or (owed_at = event_at and event_rank >= 3), false)
            as is_completed,
        coalesce(voided_at < event_at or (voided_at = event_at and event_rank >= 4), false)
            as is_cancelled
    from events
    left join decided
        on events.line_key = decided.line_key
    left join asked_back
        on events.event_key = asked_back.event_key
    where events.event_at >= $from
),

-- The line's net amount after the event and before it (M1).
valued as (
    select
        judged.*,
        greatest(line_original - refunds_asked, 0) as left_after,
        greatest(line_original - refunds_asked + coalesce(given_back, 0), 0) as left_before
    from judged
),

netted as (
    select
        valued.*,
        cast(left_after * line_fx_rate as decimal(18, 2)) as net_after,
        cast(left_before * line_fx_rate as decimal(18, 2)) as net_before
    from valued
),

-- What is forecast and what is owed, after the event and before it.
balanced as (
    select
        netted.*,
        case
            when is_booked and not is_completed and not is_cancelled
            then cast(net_after * commission_rate as decimal(18, 2))
            else 0
        end as pending_after,
        case
            when is_booked and not is_booking
                and (not is_completed or is_completion)
                and (not is_cancelled or is_cancellation)
            then cast(net_before * commission_rate as decimal(18, 2))
            else 0
        end as pending_before,
        case
            when is_completed
            then cast(net_after * commission_rate as decimal(18, 2))
            else 0
        end as approved_after,
        case
            when is_completed and not is_completion
            then cast(net_before * commission_rate as decimal(18, 2))
            else 0
        end as approved_before
    from netted
)

select
    local_date(event_at, $zone) as report_date,
    line_key,
    event_id,
    movement,
    event_at,
    movement = 'placed'
        or is_booking
        or is_completion
        or is_cancellation
        or (movement = 'refunded' and left_before > left_after) as is_effective,
    status,
    case when movement = 'placed' then net_after else net_after - net_before end as sale_amount,
    net_after,
    movement = 'refunded' and left_before > left_after and left_after = 0 as is_full_refund,
    pending_after - pending_before as pending_commission,
    approved_after - approved_before as approved_commission,
    original_amount,
    original_currency,
    movement = 'refunded' and given_back is null as is_in_another_currency,
    reason
from balanced
