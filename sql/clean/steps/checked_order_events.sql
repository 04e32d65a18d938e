-- Every raw order event with its money and the first reason to reject it, or null.
--
-- grain:  one row per raw order event of the landing date
-- kind:   temporary
-- split:  is_accepted
-- reads:  raw.orders, reference.fx_rates, clean.repeated_ids
-- params: $dt, $dt_start, $first_dt, $late, $ahead, $late_days, $currency, $zone
--
-- Amounts arrive as exact text, whatever decimal type the log has. So "at most 4 decimals, by
-- value" is a question about digits, and nothing is rounded before it is checked. A cast to fewer
-- decimals rounds half away from zero (C6).
--
-- Duplicates are found later. An event is accepted when no check rejects it and no other row has
-- its id. From landing dates before those to clean, only rows stay that can make a later row a
-- duplicate.
with raw_orders as (
    select
        raw.*,
        case
            when amount ~ '^-?[0-9]{1,14}([.][0-9]{0,4}0*)?$'
            then cast(amount as decimal(18, 4))
        end as exact_amount
    from raw.orders as raw
    where raw.dt = $dt
),

rates as (
    select
        currency,
        rate,
        rate_date,
        lead(rate_date) over (partition by currency order by rate_date) as next_date
    from reference.fx_rates
    where rate_date <= cast($dt + interval '1 day' as date)
),

-- The rate for each local date on which an event of this landing date may have happened: the latest
-- rate on or before that date. West of UTC, the earliest event may be on the date before its UTC
-- date. East of it, the latest is not yet on the date after: it is at most 01:00 UTC.
fx_dates as (
    select
        currency,
        rate,
        unnest(
            generate_series(
                greatest(rate_date, cast($dt - ($late_days + interval '1 day') as date)),
                coalesce(
                    cast(next_date - interval '1 day' as date),
                    cast($dt + interval '1 day' as date)
                ),
                interval '1 day'
            )
        ) as fx_date
    from rates
),

priced as (
    select
        raw.*,
        case when raw.currency = $currency then cast(1 as decimal(18, 8)) else fx_dates.rate end
            as fx_rate
    from fx_dates
    right join raw_orders as raw
        on raw.currency = fx_dates.currency
        and local_date(raw.event_at, $zone) = fx_dates.fx_date
),

converted as (
    select
        priced.*,
        cast(exact_amount * fx_rate as decimal(38, 2)) as program_amount
    from priced
),

repeated as (
    select id_hash
    from clean.repeated_ids
),

judged as (
    select
        converted.*,
        repeated.id_hash is not null as is_repeated,
        case
            when is_bad_text then 'bad_text'
            when converted.event_id is null then 'missing_event_id'
            when event_at is null then 'missing_time'
            when event_at < $dt_start - $late then 'too_late'
            when event_at >= $dt_start + $ahead then 'in_the_future'
            when event_type is null
                or event_type not in ('placed', 'paid', 'completed', 'cancelled', 'refunded')
                then 'unknown_event_type'
            when order_id is null or line_id is null then 'missing_order_line'
            when event_type = 'placed' and buyer_id is null then 'missing_buyer'
            when event_type = 'placed' and store_id is null then 'missing_store'
            when event_type in ('placed', 'refunded') and exact_amount is null then 'bad_amount'
            when event_type = 'placed' and exact_amount < 0 then 'bad_amount'
            when event_type = 'refunded' and exact_amount <= 0 then 'bad_amount'
            when event_type = 'placed'
                and program_amount >= cast(10000000000000000 as decimal(38, 2))
                then 'bad_amount'
            when event_type = 'placed' and fx_rate is null then 'unknown_currency'
        end as reject_reason
    from repeated
    right join converted
        on hash64(converted.event_id) = repeated.id_hash
)

select
    reject_reason is null and not is_repeated as is_accepted,
    *
from judged
where dt >= $first_dt or (is_repeated and reject_reason is null)
