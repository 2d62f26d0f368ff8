-- Everything that callers and events made. What consumers have read stays read.
delete from public.payment_audit;
delete from payment_service.payments;
delete from recommendation_service.purchases;
delete from notification_service.notifications;
delete from order_service.orders;
delete from product_service.products;
delete from user_service.users;
