-- What refunds of the dates would have given back if their line had been placed, by currency (M7).
--
-- reads:  attribution.unbooked_events
select
    coalesce(original_currency, '(none)') as currency,
    cast(sum(original_amount) as decimal(38, 4)) as amount
from attribution.unbooked_events
where why = 'orphan' and event_type = 'refunded'
group by coalesce(original_currency, '(none)')
order by currency
