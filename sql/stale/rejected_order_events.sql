-- Rejected placed events that an fx rate may make valid or invalid, as logged.
--
-- grain:  one row per rejected placed event
-- kind:   temporary
-- reads:  clean.rejects
with records as (
    select
        dt,
        row_id,
        reason,
        json_text(record, 'event_type') as event_type,
        arrow_cast(json_text(record, 'event_at'), 'Timestamp(Microsecond, Some("UTC"))')
            as event_at,
        json_text(record, 'currency') as currency,
        json_text(record, 'amount') as amount
    from clean.rejects
    where log = 'orders' and reason in ('unknown_currency', 'bad_amount', 'duplicate')
)

select
    records.*,
    case
        when amount ~ '^-?[0-9]{1,14}([.][0-9]{0,4}0*)?$'
        then cast(amount as decimal(18, 4))
    end as exact_amount
from records
where event_type = 'placed'
