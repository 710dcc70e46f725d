import assert from "node:assert/strict";
import { answerToWrite, isReadMethod } from "../../../src/bitrix24/rest_methods.ts";
import { describe, it } from "../../support/test.ts";

describe("isReadMethod()", () => {
  it("knows methods that only read by their names, in any case", () => {
    const reads = [
      ...["crm.deal.list", "crm.deal.get", "crm.deal.fields", "CRM.Item.List", "profile", "user.current", "app.info"],
      ...["server.time", "scope", "methods", "events", "user.search", "crm.enum.ownertype", "crm.duplicate.findbycomm"],
      ...["api/tasks.task.get", "api/tasks.task.search", "api/documentation"],
    ];
    assert.deepEqual(reads.filter((method) => !isReadMethod(method)), []);
  });

  it("takes any other method for one that writes", () => {
    const writes = [
      ...["crm.deal.add", "crm.deal.update", "crm.deal.delete", "event.offline.get", "batch", "im.dialog.read"],
      ...["disk.file.getexternallink", "search", "crm.deal.list.json", "crm.budget", "api/tasks.task.add", "api/batch"],
    ];
    assert.deepEqual(writes.filter(isReadMethod), []);
  });
});

describe("answerToWrite()", () => {
  const answer = (method: string, params: Readonly<Record<string, unknown>> = {}): unknown => {
    const { result, isUnknown } = answerToWrite(method, params, () => -7);
    return isUnknown ? [result, "unknown"] : result;
  };

  it("answers with an id, with true, or with the entity", () => {
    for (const method of ["crm.deal.add", "crm.deal.userfield.add", "CRM.Timeline.Comment.Add"]) {
      assert.equal(answer(method), -7, method);
    }
    const done = [
      ...[
        "crm.deal.update",
        "crm.deal.delete",
        "app.option.set",
        "event.bind",
        "placement.unbind",
        "imconnector.register",
      ],
      ...["bizproc.robot.add", "bizproc.activity.add", "userfieldtype.add", "crm.automation.trigger.add"],
      ...["messageservice.sender.add", "entity.add"],
    ];
    for (const method of done) assert.equal(answer(method), true, method);
    const fields = { title: "a" };
    assert.deepEqual(answer("crm.item.add", { fields }), { item: { title: "a", id: -7 } });
    assert.deepEqual(answer("crm.item.update", { id: 3, FIELDS: fields }), { item: { title: "a", id: 3 } });
    assert.deepEqual(answer("tasks.task.add", { fields }), { task: { title: "a", id: -7 } });
    assert.deepEqual(answer("catalog.product.add", { fields }), { element: { title: "a", id: -7 } });
    assert.deepEqual(answer("sale.order.add"), { order: { id: -7 } });
    assert.deepEqual(answer("api/tasks.task.add", { fields }), { item: { title: "a", id: -7 } });
  });

  it("marks methods that no rule names", () => {
    for (const method of ["crm.deal.convert", "event.offline.get", "telephony.call.attachTranscription", "add.all"]) {
      assert.deepEqual(answer(method), [true, "unknown"], method);
    }
  });
});
