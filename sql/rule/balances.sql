-- What each event of an order line does to its commission: the ledger (M1 to M6).
--
-- grain:  one row per counting placed event and event of its line in the horizon from then on
-- kind:   temporary
-- reads:  attribution.conversions, clean.order_events
-- params: $horizon
--
-- The net amount is what is left after refunds. Payment forecasts its commission as pending,
-- completion turns pending into approved, cancellation sets pending to zero. A movement is the
-- change of a balance from one event to the next. A refund that names another currency than its
-- line's gives nothing back. The verdict says why an event had no effect. A cast to fewer decimals
-- rounds half away from zero.
with events as (
    select
        lines.order_id,
        lines.line_id,
        lines.placed_at,
        coalesce(lines.commission_rate, 0) as commission_rate,
        placed.original_amount as line_amount,
        placed.original_currency as line_currency,
        placed.fx_rate,
        events.event_id,
        events.event_type,
        events.event_at,
        events.original_amount,
        coalesce(events.original_currency, placed.original_currency) as original_currency,
        events.event_type = 'refunded'
            and coalesce(events.original_currency, placed.original_currency)
                <> placed.original_currency
            as is_in_another_currency,
        case events.event_type
            when 'placed' then 1
            when 'paid' then 2
            when 'completed' then 3
            when 'cancelled' then 4
            else 5
        end as event_rank
    from attribution.conversions as lines
    inner join clean.order_events as placed
        on placed.order_id = lines.order_id
        and placed.line_id = lines.line_id
        and placed.event_id = lines.event_id
        and placed.event_at = lines.placed_at
        and placed.event_type = 'placed'
    inner join clean.order_events as events
        on events.order_id = lines.order_id
        and events.line_id = lines.line_id
        and events.event_at >= lines.placed_at
        and events.event_at <= lines.placed_at + cast($horizon as interval)
    where events.event_type <> 'placed'
        or (events.event_id = lines.event_id and events.event_at = lines.placed_at)
),

so_far as (
    select
        events.*,
        sum(case when event_type = 'paid' then 1 else 0 end) over so_far as times_paid,
        sum(case when event_type = 'completed' then 1 else 0 end) over so_far as times_completed,
        sum(case when event_type = 'cancelled' then 1 else 0 end) over so_far as times_cancelled,
        sum(
            case
                when event_type = 'refunded' and not is_in_another_currency then original_amount
                else 0
            end
        ) over so_far as refunds
    from events
    window so_far as (
        partition by order_id, line_id, placed_at
        order by event_at, event_rank, event_id
        rows between unbounded preceding and current row
    )
),

-- The first payment, completion or cancellation has an effect unless the line was over before.
judged as (
    select
        so_far.*,
        event_type = 'paid' and times_paid = 1 and times_completed = 0 and times_cancelled = 0
            as is_booking,
        event_type = 'completed' and times_completed = 1 and times_cancelled = 0 as is_completion,
        event_type = 'cancelled' and times_cancelled = 1 and times_completed = 0
            as is_cancellation,
        cast(greatest(line_amount - refunds, 0) * fx_rate as decimal(18, 2)) as net_amount,
        greatest(line_amount - refunds, 0) as left_amount
    from so_far
),

completed as (
    select
        judged.*,
        sum(case when is_completion then 1 else 0 end) over so_far = 1 as is_completed,
        lag(left_amount) over so_far as left_before
    from judged
    window so_far as (
        partition by order_id, line_id, placed_at
        order by event_at, event_rank, event_id
        rows between unbounded preceding and current row
    )
),

balances as (
    select
        completed.*,
        case
            when times_paid > 0 and times_completed = 0 and times_cancelled = 0
            then cast(net_amount * commission_rate as decimal(18, 2))
            else 0
        end as pending,
        case when is_completed then cast(net_amount * commission_rate as decimal(18, 2)) else 0 end
            as approved,
        event_type = 'placed'
            or is_booking
            or is_completion
            or is_cancellation
            or (event_type = 'refunded' and left_amount < left_before) as is_effective,
        case event_type
            when 'paid' then times_paid
            when 'completed' then times_completed
            when 'cancelled' then times_cancelled
        end as times_so_far
    from completed
)

select
    order_id,
    line_id,
    placed_at,
    event_id,
    event_type,
    event_at,
    is_effective,
    case
        when is_effective then 'effective'
        when is_in_another_currency then 'another currency'
        when event_type = 'refunded' then 'nothing left'
        when times_so_far > 1 then 'not the first'
        when times_completed > 0 and event_type <> 'completed' then 'completed before'
        else 'cancelled before'
    end as verdict,
    original_currency,
    line_currency,
    net_amount - coalesce(lag(net_amount) over earlier, 0) as sale_amount,
    pending - coalesce(lag(pending) over earlier, 0) as pending_commission,
    approved - coalesce(lag(approved) over earlier, 0) as approved_commission
from balances
window earlier as (
    partition by order_id, line_id, placed_at
    order by event_at, event_rank, event_id
)
order by order_id, line_id, placed_at, event_at, event_rank, event_id
