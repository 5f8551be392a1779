"""Batches of which a service takes a part: the entries that are chosen fail, the rest goes on to moto."""

import json


def split(action, body, chosen, code):
    """(body without the chosen entries or None if nothing is left, how to answer for all of it)."""
    asked = json.loads(body)
    if action == "SendMessageBatch":
        failed = [
            {"Id": entry["Id"], "Code": code, "Message": "injected", "SenderFault": False}
            for index, entry in enumerate(asked["Entries"]) if index in chosen
        ]
        rest = [entry for index, entry in enumerate(asked["Entries"]) if index not in chosen]

        def whole(answer):
            answer.setdefault("Successful", [])
            answer["Failed"] = [*answer.get("Failed", []), *failed]
            return answer

        return ({**asked, "Entries": rest} if rest else None), whole
    if action == "PutRecords":
        total = len(asked["Records"])
        rest = [record for index, record in enumerate(asked["Records"]) if index not in chosen]

        def whole(answer):
            taken = iter(answer.get("Records", []))
            refused = {"ErrorCode": code, "ErrorMessage": "injected"}
            records = [refused if index in chosen else next(taken) for index in range(total)]
            return {**answer, "Records": records, "FailedRecordCount": sum("ErrorCode" in record for record in records)}

        return ({**asked, "Records": rest} if rest else None), whole
    raise ValueError(f"no batch: {action}")
