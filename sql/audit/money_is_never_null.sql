-- Every movement has its amounts: sums would skip a null.
--
-- reads:  attribution.movements
select report_date, event_id, movement
from attribution.movements
where sale_amount is null
    or net_after is null
    or pending_commission is null
    or approved_commission is null
order by report_date, event_id
