-- How many rows of the landing dates being cleaned were rejected, by reason.
--
-- reads:  clean.rejects
-- params: $log
select reason, count(*) as rejected_rows
from clean.rejects
where log = $log
group by reason
order by reason
