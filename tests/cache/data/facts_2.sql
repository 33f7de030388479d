BEGIN TRANSACTION;
CREATE TABLE facts (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, what TEXT NOT NULL,
    created REAL NOT NULL, last_used REAL NOT NULL, PRIMARY KEY (kind, key)
);
INSERT INTO "facts" VALUES('conversion','c','{"model": "bundled/mobilenet_v2", "workflow": "static", "backend": "x86", "artifact": "a82087423a13cb9d32812403246e56861ec29245d76c8c90a455255bf91dff17"}','bundled/mobilenet_v2, static on x86',1.79598374101648449894e+09,1.79598374101648449894e+09);
INSERT INTO "facts" VALUES('judgement','j','{"predictions": "71cdc3965b4d888d96f08666920d824af17b3714b94d102f8518f4de8bd0f278", "float_multiply_adds": 7}','',1.79598374101724362369e+09,1.79598374101724362369e+09);
INSERT INTO "facts" VALUES('result','r','{"model": "bundled/mobilenet_v2", "workflow": "static", "backend": "x86"}','bundled/mobilenet_v2, static on x86',1.79598374101902842517e+09,1.79598374101902842517e+09);
INSERT INTO "facts" VALUES('judgement','k','{"predictions": null, "float_multiply_adds": 7}','',1.79598374101930856709e+09,1.79598374101930856709e+09);
INSERT INTO "facts" VALUES('accuracy','a','[1, 2]','',1.79598374101937818532e+09,1.79598374101937818532e+09);
CREATE TABLE origins (
    origin TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    PRIMARY KEY (origin, kind, key),
    FOREIGN KEY (kind, key) REFERENCES facts ON DELETE CASCADE
) WITHOUT ROWID;
INSERT INTO "origins" VALUES('upload/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','judgement','k');
INSERT INTO "origins" VALUES('upload/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','result','r');
CREATE TABLE uses (
    kind TEXT NOT NULL, key TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (kind, key, sha256),
    FOREIGN KEY (kind, key) REFERENCES facts ON DELETE CASCADE
) WITHOUT ROWID;
INSERT INTO "uses" VALUES('judgement','j','71cdc3965b4d888d96f08666920d824af17b3714b94d102f8518f4de8bd0f278');
INSERT INTO "uses" VALUES('result','r','71cdc3965b4d888d96f08666920d824af17b3714b94d102f8518f4de8bd0f278');
INSERT INTO "uses" VALUES('conversion','c','a82087423a13cb9d32812403246e56861ec29245d76c8c90a455255bf91dff17');
INSERT INTO "uses" VALUES('result','r','a82087423a13cb9d32812403246e56861ec29245d76c8c90a455255bf91dff17');
CREATE INDEX uses_by_sha256 ON uses (sha256);
COMMIT;
PRAGMA user_version = 2;
