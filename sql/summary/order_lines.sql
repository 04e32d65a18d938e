-- How many order lines were placed on the dates, by what became of them.
--
-- reads:  attribution.credits
select status, count(*) as order_lines
from attribution.credits
group by status
order by status
