-- What the dates change in the forecast and in what is owed.
--
-- reads:  attribution.movements
select
    coalesce(sum(pending_commission), 0) as pending_commission,
    coalesce(sum(approved_commission), 0) as approved_commission
from attribution.movements
where status = 'attributed'
