-- Refunds of the dates that name another currency than their line's, and so give nothing back (M1).
--
-- reads:  attribution.movements
select count(*) as refunds
from attribution.movements
where is_in_another_currency
