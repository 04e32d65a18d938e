//! What logs call the columns that the rules know, the commonest names first, without case and
//! underscores.

/// Other names of one of our columns.
pub fn of(ours: &str) -> &'static [&'static str] {
    match ours {
        "click_id" => &[
            "eventid",
            "id",
            "clickuuid",
            "uuid",
            "hitid",
            "requestid",
            "messageid",
            "insertid",
            "msgid",
            "logid",
            "cid",
            "rowid",
        ],
        "clicked_at" => &[
            "clicktime",
            "clickedtime",
            "ts",
            "timestamp",
            "eventtime",
            "eventtimestamp",
            "eventat",
            "time",
            "createdat",
            "occurredat",
            "clicktimestamp",
            "clickts",
            "eventts",
            "datetime",
            "requesttime",
            "collectortstamp",
            "derivedtstamp",
            "servertime",
            "receivedat",
            "loggedat",
            "gmtcreate",
            "at",
        ],
        "url" => &[
            "pageurl",
            "landingurl",
            "clickurl",
            "landingpageurl",
            "landingpage",
            "href",
            "pagelocation",
            "requesturl",
            "targeturl",
            "fullurl",
            "documentlocation",
            "link",
            "uri",
            "page",
            "destination",
        ],
        "buyer_id" => &[
            "userid",
            "customerid",
            "uid",
            "memberid",
            "accountid",
            "shopperid",
            "user",
            "customer",
            "buyer",
            "loginid",
            "buyeruid",
            "buyerloginid",
            "clientnumber",
        ],
        "visitor_id" => &[
            "cookieid",
            "deviceid",
            "anonymousid",
            "clientid",
            "fullvisitorid",
            "userpseudoid",
            "domainuserid",
            "anonid",
            "visitor",
            "cookie",
            "browserid",
            "sessioncookie",
            "gaid",
        ],
        "store_id" => &[
            "shopid",
            "sellerid",
            "merchantid",
            "vendorid",
            "store",
            "shop",
            "seller",
            "merchant",
            "storeno",
            "retailerid",
        ],
        "product_id" => &[
            "itemid",
            "sku",
            "skuid",
            "goodsid",
            "productsku",
            "asin",
            "product",
            "item",
            "articleid",
            "offerid",
            "variantid",
        ],
        "category_id" => {
            &["category", "catid", "cateid", "leafcategoryid", "productcategory", "categorypath"]
        }
        "country" => &[
            "countrycode",
            "countryiso",
            "geocountry",
            "shiptocountry",
            "shippingcountry",
            "billingcountry",
            "ipcountry",
        ],
        "device" => {
            &["devicetype", "devicecategory", "platform", "terminal", "devicekind", "channel"]
        }
        "event_id" => {
            &["id", "eventuuid", "uuid", "messageid", "logid", "insertid", "msgid", "rowid"]
        }
        "event_type" => &[
            "type",
            "event",
            "eventname",
            "status",
            "orderstatus",
            "action",
            "state",
            "kind",
            "ordereventtype",
        ],
        "event_at" => &[
            "eventtime",
            "eventtimestamp",
            "ts",
            "timestamp",
            "time",
            "occurredat",
            "eventts",
            "statustime",
            "datetime",
            "changedat",
            "updatedat",
            "createdat",
            "loggedat",
            "gmtmodified",
            "at",
        ],
        "order_id" => &[
            "ordernumber",
            "orderno",
            "ordernum",
            "ordersn",
            "tradeid",
            "tradeno",
            "purchaseid",
            "parentorderid",
            "order",
            "orderref",
            "transactionid",
            "number",
        ],
        "line_id" => &[
            "orderlineid",
            "lineitemid",
            "orderitemid",
            "suborderid",
            "childorderid",
            "lineno",
            "linenumber",
            "linenum",
            "line",
            "orderlinenumber",
            "position",
            "itemno",
            "subtradeid",
        ],
        "amount" => &[
            "lineamount",
            "linetotal",
            "totalamount",
            "orderamount",
            "total",
            "netamount",
            "subtotal",
            "paidamount",
            "payamount",
            "saleamount",
            "price",
            "value",
            "revenue",
            "itemtotal",
            "gmv",
            "sum",
            "linetotalamount",
        ],
        "currency" => {
            &["currencycode", "ordercurrency", "paymentcurrency", "curr", "ccy", "currencyiso"]
        }
        "quantity" => &["qty", "count", "units", "itemcount", "pieces", "num", "quantityordered"],
        "reason" => &[
            "cancelreason",
            "refundreason",
            "returnreason",
            "reasoncode",
            "reasontext",
            "endreason",
        ],
        _ => &[],
    }
}

/// Words for the events of an order line, without case and underscores: ours first.
pub const EVENTS: [(&str, &[&str]); 5] = [
    ("placed", &["placed", "created", "create", "ordered", "new", "submitted", "place", "opened"]),
    ("paid", &["paid", "payment", "pay", "payed", "captured", "paymentsuccess", "paymentreceived"]),
    (
        "completed",
        &[
            "completed",
            "complete",
            "finished",
            "finish",
            "delivered",
            "fulfilled",
            "confirmed",
            "done",
        ],
    ),
    ("cancelled", &["cancelled", "canceled", "cancel", "voided", "void", "closed"]),
    (
        "refunded",
        &["refunded", "refund", "returned", "return", "partiallyrefunded", "partialrefund"],
    ),
];

/// Our word for an event, if this looks like one.
pub fn event(theirs: &str) -> Option<&'static str> {
    let bare = crate::nearest::bare(theirs);
    let bare = bare.strip_prefix("order").filter(|rest| !rest.is_empty()).unwrap_or(&bare);
    let bare = bare.strip_prefix("line").unwrap_or(bare);
    EVENTS.iter().find(|(_, words)| words.contains(&bare)).map(|(ours, _)| *ours)
}

/// Beginnings of the names of times at which something happened to an order, without case.
pub const MILESTONES: [&str; 10] =
    ["creat", "plac", "order", "paid", "pay", "finish", "complet", "cancel", "refund", "ship"];
