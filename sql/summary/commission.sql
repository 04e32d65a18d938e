-- The change of pending and approved commission on the dates.
--
-- reads:  attribution.movements
select
    coalesce(sum(pending_commission), 0) as pending_commission,
    coalesce(sum(approved_commission), 0) as approved_commission
from attribution.movements
where status = 'attributed'
