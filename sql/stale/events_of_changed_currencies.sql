-- Placed events in changed currencies of which another thing is made now (C2, C6, D7).
--
-- grain:  one row per valid placed event, or placed event that was rejected for its currency
-- kind:   temporary
-- reads:  changed.fx_rates, reference.fx_rates, clean.order_events, stale.rejected_order_events
-- params: $currency, $zone
--
-- An fx rate decides whether an event is valid, or why it is not, and its amount in program
-- currency. A duplicate was valid, too.
with keys as (
    select currency
    from changed.fx_rates
    where currency <> $currency
),

events as (
    select
        dt, event_id as row_id, event_at, original_currency as currency, original_amount, fx_rate,
        null as reason, true as was_valid, true as is_clean
    from clean.order_events
    where event_type = 'placed' and original_currency in (select currency from keys)
    union all
    select
        dt, row_id, event_at, currency, exact_amount as original_amount, null as fx_rate,
        reason, reason = 'duplicate' as was_valid, false as is_clean
    from stale.rejected_order_events
    where event_type = 'placed'
        and reason in ('unknown_currency', 'bad_amount', 'duplicate')
        and currency in (select currency from keys)
),

rates as (
    select
        currency,
        rate,
        rate_date,
        lead(rate_date) over (partition by currency order by rate_date) as next_date
    from reference.fx_rates
),

judged as (
    select
        events.*,
        rates.rate as rate_now,
        case when rates.rate is null then 'unknown_currency' else 'bad_amount' end as reason_now,
        coalesce(
            events.original_amount >= 0
                and cast(events.original_amount * rates.rate as decimal(38, 2))
                    < cast(10000000000000000 as decimal(38, 2)),
            false
        ) as is_valid
    from events
    left join rates
        on events.currency = rates.currency
        and local_date(events.event_at, $zone) >= rates.rate_date
        and (rates.next_date is null or local_date(events.event_at, $zone) < rates.next_date)
)

select
    dt,
    currency,
    row_id,
    was_valid <> is_valid as is_turned
from judged
where was_valid <> is_valid
    or (is_clean and (fx_rate is distinct from rate_now))
    or (not is_valid and original_amount >= 0 and reason <> reason_now)
