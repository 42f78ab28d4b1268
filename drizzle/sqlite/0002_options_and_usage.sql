ALTER TABLE `turns` ADD `options` text;--> statement-breakpoint
CREATE INDEX `turns_by_user` ON `turns` (`user_id`,`created_at`);