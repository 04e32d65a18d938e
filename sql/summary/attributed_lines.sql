-- How many order lines were placed on some order dates, and how many of them are attributed.
--
-- reads:  attribution.conversions
--
-- It says what is usual. Only the status is read.
select
    order_date,
    count(*) filter (where status = 'attributed') as attributed_lines,
    count(*) as order_lines
from attribution.conversions
group by order_date
order by order_date
