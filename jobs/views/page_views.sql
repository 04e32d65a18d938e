-- Page views as clicks: those whose address is a promotion link.
--
-- It is for the log of all pages that were shown. Copy this file beside your job file,
-- put your own column names in, and name it there:
--
--     [input.clicks]
--     path = "raw/page_views"
--     view = "views/page_views.sql"
--
-- The filter has to let pass whatever `[links] formats` of the job file match. A view of
-- a page that it leaves out is not rejected; the summary counts what went in and what
-- came out. Without a filter most of the log would be kept a second time, as rejected
-- rows.
--
-- Somebody who loads the page again under the same address clicks again. Their latest
-- click counts, so that does no harm to attribution, but report.traffic counts each.
select
    view_id as click_id,
    viewed_at as clicked_at,
    page_url as url,
    user_id as buyer_id,
    cookie_id as visitor_id,
    shop_id as store_id,
    sku as product_id,
    geo_country as country,
    device_type as device
from raw
where
    page_url like '%//s.click.aliexpress.com/e/%'
    or page_url like '%aff_fcid=%'
