-- Visitors known to be one buyer.
--
-- reads:  reference.identities
-- params: $buyer
select visitor_id
from reference.identities
where buyer_id = $buyer
order by visitor_id
