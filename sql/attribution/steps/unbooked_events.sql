-- Events of the dates to make that belong to no counting placed event, and so make no movement.
--
-- grain:  one row per such event
-- kind:   temporary
-- rule:   balances
-- reads:  attribution.ledger_events
-- params: $from, $zone
select
    local_date(event_at, $zone) as report_date,
    event_id,
    movement as event_type,
    event_at,
    order_id,
    line_id,
    original_amount,
    original_currency,
    case when movement = 'placed' then 'repetition' else 'orphan' end as why
from attribution.ledger_events
where line_key is null and event_at >= $from
